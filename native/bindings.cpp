// The Python module. Signals and weights come as addresses, sizes and strides in elements: tensors
// have data_ptr(), and signal_of() gives these numbers of an array. The callers have checked every
// size. Checked here are only the numbers of padding modes and the form of `edges`.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <cstring>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "antialiased.hpp"
#include "dispatch.hpp"
#include "fingerprint.hpp"
#include "lstm_bindings.hpp"
#include "maps.hpp"
#include "output_memory.hpp"
#include "peak.hpp"
#include "plan.hpp"
#include "pointwise_bindings.hpp"
#include "released.hpp"
#include "steps_bindings.hpp"
#include "threads.hpp"
#include "xla.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

template <class S>
constexpr const char* type_name = "float32";
template <>
constexpr const char* type_name<double> = "float64";
template <>
constexpr const char* type_name<float16> = "float16";
template <>
constexpr const char* type_name<bfloat16> = "bfloat16";

// Puts carried positions before a signal: its positions then count from the first of these.
template <class T>
Carried<T> carry(const Signal<const T>& before, Signal<const T>& of) {
  of.data -= before.length * of.position_stride;
  of.length += before.length;
  return {before.data, before.batch_stride, before.channel_stride, before.position_stride,
          before.length};
}

Extension extension_of(int number) {
  if (number < 0 || number >= static_cast<int>(std::size(padding_modes)))
    throw nb::value_error(("no padding mode has the number " + std::to_string(number)).c_str());
  return static_cast<Extension>(number);
}

Direction direction_of(int number) {
  if (number < 0 || number > static_cast<int>(Direction::conv1d))
    throw nb::value_error(("no map has the number " + std::to_string(number)).c_str());
  return static_cast<Direction>(number);
}

// Intervals [start0, stop0, start1, stop1, ...] of frames outside a signal.
Outside outside_of(int extension, const std::vector<i64>& ends) {
  Outside outside{extension_of(extension), {}};
  if (ends.size() % 2 || (!ends.empty() && outside.extension == zeros))
    throw nb::value_error("edges must be pairs of frames, and none with zeros");
  for (std::size_t i = 0; i < ends.size(); i += 2)
    outside.intervals.push_back({ends[i], ends[i + 1]});
  return outside;
}

Layer layer_of(i64 in_channels, i64 out_per_group, i64 kernel, i64 groups, i64 stride,
               i64 dilation) {
  return {groups, in_channels / groups, out_per_group, kernel, stride, dilation};
}

template <class T>
Signal<T> signal_at(std::uintptr_t address, i64 batch_stride, i64 channel_stride,
                    i64 position_stride, i64 length) {
  return {reinterpret_cast<T*>(address), batch_stride, channel_stride, position_stride, length};
}

// Infinity as the bits of a number that is stored as S.
template <class S>
constexpr std::uint64_t infinity_of = 0x7f800000;
template <>
constexpr std::uint64_t infinity_of<double> = 0x7ff0000000000000;
template <>
constexpr std::uint64_t infinity_of<float16> = 0x7c00;
template <>
constexpr std::uint64_t infinity_of<bfloat16> = 0x7f80;

template <class S>
auto forward_step(const PackedWeight<S>& weight, i64 batch, std::uintptr_t x, i64 xb, i64 xc,
                  i64 xl, i64 length, std::uintptr_t bias, std::uintptr_t y, i64 yb, i64 yc, i64 yl,
                  i64 output_length, i64 padding_left, int extension, std::uintptr_t residual,
                  i64 rb, i64 rc, i64 rl, double negative_slope, std::uintptr_t carried, i64 cb,
                  i64 cc, i64 cl, i64 carried_length, std::uintptr_t residual_carried, i64 rcb,
                  i64 rcc, i64 rcl, i64 residual_carried_length) {
  const Extension mode = extension_of(extension);
  Signal<const S> source = signal_at<const S>(x, xb, xc, xl, length);
  Carried<S> before{};
  if (carried) before = carry(signal_at<const S>(carried, cb, cc, cl, carried_length), source);
  Around<S> around;
  around.negative_slope = static_cast<Sum<S>>(negative_slope);
  if (residual) around.residual = signal_at<const S>(residual, rb, rc, rl, output_length);
  if (residual_carried)
    around.residual_carried =
        carry(signal_at<const S>(residual_carried, rcb, rcc, rcl, residual_carried_length),
              around.residual);
  return [=, &weight] {
    forward<S>(weight, batch, source, reinterpret_cast<const S*>(bias),
               signal_at<S>(y, yb, yc, yl, output_length), padding_left, mode, around, before);
  };
}

template <class S>
void bind_maps(nb::module_& m, nb::class_<Steps>& steps, const char* name) {
  nb::class_<PackedWeight<S>>(m, name).def_prop_ro(
      "instruction_set", [](const PackedWeight<S>& w) { return w.isa.name; });

  m.def((std::string("pack_") + type_name<S>).c_str(),
        [](std::uintptr_t weight, i64 in_channels, i64 out_per_group, i64 kernel, i64 groups,
           i64 stride, i64 dilation, int direction, bool once) {
          const Layer layer =
              layer_of(in_channels, out_per_group, kernel, groups, stride, dilation);
          const Direction map = direction_of(direction);
          nb::gil_scoped_release release;
          return new PackedWeight<S>(reinterpret_cast<const S*>(weight), layer, map,
                                     once ? Packing::once : Packing::kept);
        },
        nb::rv_policy::take_ownership);

  m.def((std::string("fingerprint_") + type_name<S>).c_str(),
        [](std::uintptr_t weight, i64 rows, i64 columns, i64 taps) {
          nb::gil_scoped_release release;
          return new Fingerprint(reinterpret_cast<const void*>(weight), rows, columns, taps,
                                 sizeof(S), infinity_of<S>);
        },
        nb::rv_policy::take_ownership);

  bind_step(m, steps, "forward", &forward_step<S>, std::tuple<nb::keep_alive<1, 2>>(), nb::arg(),
            nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
            nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg() = 0,
            nb::arg() = 0, nb::arg() = 0, nb::arg() = 0, nb::arg() = 1.0, nb::arg() = 0,
            nb::arg() = 0, nb::arg() = 0, nb::arg() = 0, nb::arg() = 0, nb::arg() = 0,
            nb::arg() = 0, nb::arg() = 0, nb::arg() = 0, nb::arg() = 0);

  m.def("input_grad",
        [](const PackedWeight<S>& weight, i64 batch, std::uintptr_t gy, i64 gyb, i64 gyc, i64 gyl,
           i64 output_length, std::uintptr_t gx, i64 gxb, i64 gxc, i64 gxl, i64 frames,
           i64 padding_left, int extension, const std::vector<i64>& edges) {
          const Outside outside = outside_of(extension, edges);
          const Released released;
          input_grad<S>(weight, batch, signal_at<const S>(gy, gyb, gyc, gyl, output_length),
                        signal_at<S>(gx, gxb, gxc, gxl, frames), padding_left, outside);
        });
}

template <class S>
auto antialiased_step(const PackedWeight<S>& up, const AnyProgram& program,
                      const PackedWeight<S>& down, i64 batch, std::uintptr_t x, i64 xb, i64 xc,
                      i64 xl, i64 length, std::uintptr_t up_bias, i64 up_padding_left,
                      int up_extension, i64 middle, std::uintptr_t down_bias, i64 down_padding_left,
                      int down_extension, std::uintptr_t y, i64 yb, i64 yc, i64 yl,
                      i64 output_length) {
  const auto* between = std::get_if<std::unique_ptr<Program<S>>>(&program.of);
  if (!between || (*between)->inputs() != 1)
    throw nb::value_error("the program must have one input, and the dtype of the weights");
  if ((*between)->channels() >= 0 && (*between)->channels() < up.layer.groups)
    throw nb::value_error("the program has values for fewer channels than the weights");
  const Filtering<S> first{up, reinterpret_cast<const S*>(up_bias), up_padding_left,
                           extension_of(up_extension)};
  const Filtering<S> last{down, reinterpret_cast<const S*>(down_bias), down_padding_left,
                          extension_of(down_extension)};
  const Program<S>& chain = **between;
  return [=, &chain] {
    return antialiased<S>(first, chain, last, batch, signal_at<const S>(x, xb, xc, xl, length),
                          middle, signal_at<S>(y, yb, yc, yl, output_length));
  };
}

template <class S>
void bind_antialiased(nb::module_& m, nb::class_<Steps>& steps) {
  bind_step(m, steps, "antialiased", &antialiased_step<S>,
            std::tuple<nb::keep_alive<1, 2>, nb::keep_alive<1, 3>, nb::keep_alive<1, 4>>());
}

template <class T>
void bind_gradients(nb::module_& m) {
  m.def((std::string("weight_grad_") + type_name<T>).c_str(),
        [](i64 batch, std::uintptr_t x, i64 xb, i64 xc, i64 xl, i64 length, std::uintptr_t gy,
           i64 gyb, i64 gyc, i64 gyl, i64 output_length, std::uintptr_t gw, i64 in_channels,
           i64 out_per_group, i64 kernel, i64 groups, i64 stride, i64 dilation, i64 padding_left,
           int extension) {
          const Layer layer =
              layer_of(in_channels, out_per_group, kernel, groups, stride, dilation);
          const Extension mode = extension_of(extension);
          const Released released;
          weight_grad<T>(layer, batch, signal_at<const T>(x, xb, xc, xl, length),
                         signal_at<const T>(gy, gyb, gyc, gyl, output_length),
                         reinterpret_cast<T*>(gw), padding_left, mode);
        });

  m.def((std::string("bias_grad_") + type_name<T>).c_str(),
        [](i64 batch, i64 channels, std::uintptr_t gy, i64 gyb, i64 gyc, i64 gyl, i64 output_length,
           std::uintptr_t gb) {
          nb::gil_scoped_release release;
          bias_grad<T>(batch, channels, signal_at<const T>(gy, gyb, gyc, gyl, output_length),
                       reinterpret_cast<T*>(gb));
        });
}

// A layer's phases as plan.cpp computes them. The tests compare them with Python's geometry.
nb::tuple phases_of(i64 kernel, i64 stride, i64 dilation) {
  const Taps taps = taps_of({1, 1, 1, kernel, stride, dilation});
  return nb::make_tuple(taps.step, taps.frames, taps.phases, taps.most, taps.most_phases,
                        taps.all_samples);
}

// (first phase, phases, taps of each, first frame, frame after the last) of each product of T. The
// tests compare them with Python's geometry.
nb::list frames_of_products(i64 kernel, i64 stride, i64 dilation, i64 padding_left,
                            i64 output_length) {
  const Layer layer{1, 2, 2, kernel, stride, dilation};
  nb::list products;
  for (const Product& p : plan_forward(layer, {8, 8, false}).products) {
    const Range frames = frames_onto(p, layer, padding_left, output_length);
    products.append(nb::make_tuple(p.rows.first_phase, p.rows.phases, p.segments[0].shifts,
                                   frames.first, frames.last));
  }
  return products;
}

// A NumPy array as the functions on addresses take it: its address, each stride in elements, and
// the length of its last axis.
nb::object signal_of(nb::handle array) {
  Py_buffer view;
  // (Without the format of the elements: NumPy has none for bfloat16.)
  if (PyObject_GetBuffer(array.ptr(), &view, PyBUF_STRIDES)) throw nb::python_error();
  if (view.itemsize == 0) {
    PyBuffer_Release(&view);
    throw nb::value_error("elements without bytes are no numbers");
  }
  const int axes = view.ndim;
  PyObject* signal = PyTuple_New(axes + 2);
  if (signal) {
    PyTuple_SetItem(signal, 0, PyLong_FromVoidPtr(view.buf));
    for (int i = 0; i < axes; ++i)
      PyTuple_SetItem(signal, i + 1, PyLong_FromSsize_t(view.strides[i] / view.itemsize));
    PyTuple_SetItem(signal, axes + 1, PyLong_FromSsize_t(axes ? view.shape[axes - 1] : 1));
  }
  PyBuffer_Release(&view);
  if (!signal) throw nb::python_error();
  return nb::steal(signal);
}

// A contiguous tensor of the CPU as DLPack describes it: this is that standard's ABI.
struct ManagedTensor {
  struct {
    void* data;
    std::int32_t device_type, device_id;
    std::int32_t axes;
    std::uint8_t code, bits;
    std::uint16_t lanes;
    std::int64_t* shape;
    std::int64_t* strides;
    std::uint64_t byte_offset;
  } tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
  std::int64_t shape[3];
};

// (batch, channels, length) of large_output bytes or more in memory that is kept, as the DLPack
// capsule of a tensor. `code` and `bits` are DLPack's of the dtype.
nb::object new_output(i64 batch, i64 channels, i64 length, int code, int bits) {
  const std::size_t bytes = static_cast<std::size_t>(batch * channels * length * (bits / 8));
  void* memory = take_output(bytes);
  if (!memory) throw std::bad_alloc();
  ManagedTensor* made = new ManagedTensor{};
  made->shape[0] = batch, made->shape[1] = channels, made->shape[2] = length;
  made->tensor = {memory,
                  1,
                  0,
                  3,
                  static_cast<std::uint8_t>(code),
                  static_cast<std::uint8_t>(bits),
                  1,
                  made->shape,
                  nullptr,
                  0};
  made->deleter = [](ManagedTensor* self) {
    give_output_back(self->tensor.data);
    delete self;
  };
  PyObject* capsule = PyCapsule_New(made, "dltensor", [](PyObject* tensor) {
    if (!PyCapsule_IsValid(tensor, "dltensor")) return;  // a tensor has taken it over
    auto* self = static_cast<ManagedTensor*>(PyCapsule_GetPointer(tensor, "dltensor"));
    self->deleter(self);
  });
  if (!capsule) {
    made->deleter(made);
    throw nb::python_error();
  }
  return nb::steal(capsule);
}

std::vector<std::string> names(const std::vector<const InstructionSet*>& sets) {
  std::vector<std::string> out;
  for (const InstructionSet* set : sets) out.emplace_back(set->name);
  return out;
}

}  // namespace
}  // namespace fracstride

NB_MODULE(_native, m) {
  using namespace fracstride;
  watch_forks();
  watch_signals();
  // What a process still holds when it ends, such as the modules of torch's DDP, is no leak.
  nb::set_leak_warnings(false);
  nb::class_<Fingerprint>(m, "Fingerprint")
      .def("matches", [](const Fingerprint& self, std::uintptr_t weight, i64 frames) {
        return self.matches(reinterpret_cast<const void*>(weight), frames);
      });
  nb::class_<Steps> steps = bind_steps(m);
  bind_maps<float>(m, steps, "PackedWeightFloat32");
  bind_maps<double>(m, steps, "PackedWeightFloat64");
  bind_maps<float16>(m, steps, "PackedWeightFloat16");
  bind_maps<bfloat16>(m, steps, "PackedWeightBFloat16");
  bind_gradients<float>(m);
  bind_gradients<double>(m);
  bind_gradients<float16>(m);
  bind_gradients<bfloat16>(m);
  bind_pointwise(m, steps);
  bind_lstm(m, steps);
  bind_antialiased<float>(m, steps);
  bind_antialiased<double>(m, steps);
  bind_antialiased<float16>(m, steps);
  bind_antialiased<bfloat16>(m, steps);
  m.def("xla_handlers", &xla_handlers);
  m.def("signal_of", &signal_of);
  m.def("new_output", &new_output);
  m.attr("large_output") = large_output;
  m.def("output_memory", [] {
    const OutputMemory memory = output_memory();
    return nb::make_tuple(memory.in_use, memory.waiting);
  });
  m.def("release_outputs", &release_outputs);
  m.def("same_bytes", [](std::uintptr_t a, std::uintptr_t b, std::size_t count) {
    nb::gil_scoped_release release;
    return std::memcmp(reinterpret_cast<const void*>(a), reinterpret_cast<const void*>(b), count) ==
           0;
  });
  m.def("multiply_adds", &multiply_adds, nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "read_floats",
      [](std::uintptr_t values, i64 count) {
        return read_floats(reinterpret_cast<const float*>(values), count);
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "copy_bytes",
      [](std::uintptr_t from, std::uintptr_t to, i64 bytes, i64 times) {
        copy_bytes(reinterpret_cast<const void*>(from), reinterpret_cast<void*>(to), bytes, times);
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def("built_instruction_sets", [] { return names(built_instruction_sets()); });
  m.def("available_instruction_sets", [] { return names(available_instruction_sets()); });
  m.def("phases_of", &phases_of);
  m.def("frames_onto", &frames_of_products);
  m.def("padding_modes", [] {
    return std::vector<std::string>(std::begin(padding_modes), std::end(padding_modes));
  });
  m.def("best_instruction_set", [] { return best_instruction_set().name; });
  m.def("instruction_set", [] { return instruction_set().name; });
  m.def("use_instruction_set", [](const std::string& name) {
    for (const InstructionSet* set : available_instruction_sets())
      if (name == set->name) return use_instruction_set(*set);
    throw nb::value_error("no such instruction set on this machine");
  });
  m.def("get_num_threads", &get_threads);
  m.def("set_num_threads", &set_threads);
  m.def("has_openmp", &has_openmp);
  m.attr("version") = FRACSTRIDE_VERSION;
  m.attr("compiler") =
#if defined(__clang__)
      "Clang " __clang_version__;
#else
      "GCC " __VERSION__;
#endif
}
