// The structs of native/xla_abi.hpp are those of the header of the jaxlib that is installed: sizes
// and places of every field that is used. Compiled by test_kernels.py; nothing of it is linked.
#include "xla_abi.hpp"

#include <cstddef>

#include "xla/ffi/api/c_api.h"

namespace ours = fracstride::xla;

#define SAME(OURS, FIELD, THEIRS, THEIR_FIELD)                                 \
  static_assert(offsetof(ours::OURS, FIELD) == offsetof(THEIRS, THEIR_FIELD)); \
  static_assert(sizeof(ours::OURS::FIELD) == sizeof(decltype(THEIRS::THEIR_FIELD)))

SAME(Extension, struct_size, XLA_FFI_Extension_Base, struct_size);
SAME(Extension, type, XLA_FFI_Extension_Base, type);
SAME(Extension, next, XLA_FFI_Extension_Base, next);
SAME(Version, extensions, XLA_FFI_Api_Version, extension_start);
SAME(Version, major, XLA_FFI_Api_Version, major_version);
SAME(Version, minor, XLA_FFI_Api_Version, minor_version);
SAME(Metadata, version, XLA_FFI_Metadata, api_version);
SAME(MetadataExtension, base, XLA_FFI_Metadata_Extension, extension_base);
SAME(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);
SAME(NewError, struct_size, XLA_FFI_Error_Create_Args, struct_size);
SAME(NewError, extensions, XLA_FFI_Error_Create_Args, extension_start);
SAME(NewError, message, XLA_FFI_Error_Create_Args, message);
SAME(NewError, code, XLA_FFI_Error_Create_Args, errc);
static_assert(offsetof(ours::NewError, code) + sizeof(ours::Code) ==
              static_cast<std::size_t>(XLA_FFI_Error_Create_Args_STRUCT_SIZE));
SAME(Api, version, XLA_FFI_Api, api_version);
SAME(Api, create_error, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME(Buffer, dtype, XLA_FFI_Buffer, dtype);
SAME(Buffer, data, XLA_FFI_Buffer, data);
SAME(Buffer, rank, XLA_FFI_Buffer, rank);
SAME(Buffer, dims, XLA_FFI_Buffer, dims);
SAME(Operands, count, XLA_FFI_Args, size);
SAME(Operands, types, XLA_FFI_Args, types);
SAME(Operands, values, XLA_FFI_Args, args);
SAME(Operands, count, XLA_FFI_Rets, size);
SAME(Operands, types, XLA_FFI_Rets, types);
SAME(Operands, values, XLA_FFI_Rets, rets);
SAME(Text, data, XLA_FFI_ByteSpan, ptr);
SAME(Text, size, XLA_FFI_ByteSpan, len);
SAME(Array, dtype, XLA_FFI_Array, dtype);
SAME(Array, size, XLA_FFI_Array, size);
SAME(Array, data, XLA_FFI_Array, data);
SAME(Attributes, count, XLA_FFI_Attrs, size);
SAME(Attributes, types, XLA_FFI_Attrs, types);
SAME(Attributes, names, XLA_FFI_Attrs, names);
SAME(Attributes, values, XLA_FFI_Attrs, attrs);
SAME(Call, struct_size, XLA_FFI_CallFrame, struct_size);
SAME(Call, extensions, XLA_FFI_CallFrame, extension_start);
SAME(Call, api, XLA_FFI_CallFrame, api);
SAME(Call, context, XLA_FFI_CallFrame, ctx);
SAME(Call, stage, XLA_FFI_CallFrame, stage);
SAME(Call, arguments, XLA_FFI_CallFrame, args);
SAME(Call, results, XLA_FFI_CallFrame, rets);
SAME(Call, attributes, XLA_FFI_CallFrame, attrs);
static_assert(sizeof(ours::Call) <= static_cast<std::size_t>(XLA_FFI_CallFrame_STRUCT_SIZE));

static_assert(ours::metadata_extension == XLA_FFI_Extension_Metadata);
static_assert(ours::buffer_operand == XLA_FFI_ArgType_BUFFER);
static_assert(ours::buffer_operand == XLA_FFI_RetType_BUFFER);
static_assert(ours::array_attribute == XLA_FFI_AttrType_ARRAY);
static_assert(ours::execute_stage == XLA_FFI_ExecutionStage_EXECUTE);
static_assert(XLA_FFI_API_MAJOR == 0);

#define SAME_CODE(OURS, THEIRS) static_assert(static_cast<int>(ours::OURS) == THEIRS)
SAME_CODE(DType::s64, XLA_FFI_DataType_S64);
SAME_CODE(DType::f16, XLA_FFI_DataType_F16);
SAME_CODE(DType::f32, XLA_FFI_DataType_F32);
SAME_CODE(DType::f64, XLA_FFI_DataType_F64);
SAME_CODE(DType::bf16, XLA_FFI_DataType_BF16);
SAME_CODE(Code::invalid_argument, XLA_FFI_Error_Code_INVALID_ARGUMENT);
SAME_CODE(Code::resource_exhausted, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
SAME_CODE(Code::internal, XLA_FFI_Error_Code_INTERNAL);
