// The part of XLA's C interface for foreign functions that xla.cpp uses, declared here so that
// neither the build nor the wheel needs jaxlib. Names are ours, layout is XLA's: its c_api.h has
// had these fields at these places since version 0.0 of the interface (tests/jax/xla_abi.cpp
// compares them with the header of the jaxlib that is installed).
#pragma once
#include <cstddef>
#include <cstdint>

namespace fracstride::xla {

// Each struct begins with its size, as its maker knows it, and a list of extensions.
struct Extension {
  std::size_t struct_size;
  std::int32_t type;
  Extension* next;
};
constexpr std::int32_t metadata_extension = 1;

struct Version {
  std::size_t struct_size;
  Extension* extensions;
  std::int32_t major, minor;
};

// What a handler tells about itself when it is registered: the call then has this extension.
struct Metadata {
  std::size_t struct_size;
  Version version;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

// XLA's own: made by Api::create_error, and handed back as a handler's result. Null: no error.
struct Error;
enum class Code : std::int32_t { invalid_argument = 3, resource_exhausted = 8, internal = 13 };
struct NewError {
  std::size_t struct_size;  // up to the end of `code`, as XLA counts it
  Extension* extensions;
  const char* message;
  Code code;
};

struct Api {
  std::size_t struct_size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(NewError*);
};

enum class DType : std::int32_t { s64 = 5, f16 = 10, f32 = 11, f64 = 12, bf16 = 16 };

// Dense, row-major.
struct Buffer {
  std::size_t struct_size;
  Extension* extensions;
  DType dtype;
  void* data;
  std::int64_t rank;
  std::int64_t* dims;
};
constexpr std::int32_t buffer_operand = 1;

// The arguments of a call, or its results.
struct Operands {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t count;
  std::int32_t* types;
  void** values;
};

struct Text {
  const char* data;
  std::size_t size;
};
struct Array {
  DType dtype;
  std::size_t size;
  void* data;
};
constexpr std::int32_t array_attribute = 1;

struct Attributes {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t count;
  std::int32_t* types;
  Text** names;
  void** values;
};

constexpr std::int32_t execute_stage = 3;
struct Call {
  std::size_t struct_size;
  Extension* extensions;
  const Api* api;
  void* context;
  std::int32_t stage;
  Operands arguments, results;
  Attributes attributes;
};

using Handler = Error*(Call*);

}  // namespace fracstride::xla
