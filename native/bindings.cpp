// The Python module. It trusts its caller, fracstride.functional, which has checked every size;
// what it checks itself (types, ranks) is what would otherwise be undefined behaviour.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "maps.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace fracstride {
namespace {

template <class T>
using Array = nb::ndarray<T, nb::ndim<3>, nb::device::cpu>;
template <class T>
using Contiguous = nb::ndarray<T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <class T>
using Bias = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T>
Signal<T> signal(const Array<T>& a) {
  return {a.data(), a.stride(0), a.stride(1), a.stride(2), static_cast<i64>(a.shape(2))};
}

// What comes before a signal, which then counts from there.
template <class T>
Carried<T> carry(const Signal<const T>& before, Signal<const T>& of) {
  of.data -= before.length * of.position_stride;
  of.length += before.length;
  return {before.data, before.batch_stride, before.channel_stride, before.position_stride,
          before.length};
}

Layer layer_of(i64 in_channels, i64 out_per_group, i64 kernel, i64 groups, i64 stride,
               i64 dilation) {
  return {groups, in_channels / groups, out_per_group, kernel, stride, dilation};
}

template <class T>
void bind_type(nb::module_& m, const char* name) {
  nb::class_<PackedWeight<T>>(m, name).def_prop_ro(
      "instruction_set", [](const PackedWeight<T>& w) { return w.isa.name; });

  m.def(
      "pack",
      [](const Contiguous<const T>& w, i64 groups, i64 stride, i64 dilation, bool for_input_grad,
         bool once) {
        const Layer layer = layer_of(static_cast<i64>(w.shape(0)), static_cast<i64>(w.shape(1)),
                                     static_cast<i64>(w.shape(2)), groups, stride, dilation);
        nb::gil_scoped_release release;
        return new PackedWeight<T>(w.data(), layer,
                                   for_input_grad ? Direction::input_grad : Direction::forward,
                                   once ? Packing::once : Packing::kept);
      },
      nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
      nb::rv_policy::take_ownership);

  m.def(
      "forward",
      [](const PackedWeight<T>& weight, const Array<const T>& input,
         const std::optional<Bias<T>>& bias, const Array<T>& output, i64 padding_left,
         int extension, const std::optional<Array<const T>>& residual, double negative_slope,
         const std::optional<Array<const T>>& carried,
         const std::optional<Array<const T>>& residual_carried) {
        const i64 batch = static_cast<i64>(input.shape(0));
        Around<T> around;
        if (residual) around.residual = signal(*residual);
        around.negative_slope = static_cast<T>(negative_slope);
        Signal<const T> source = signal(input);
        Carried<T> before{};
        if (carried) before = carry(signal(*carried), source);
        if (residual_carried)
          around.residual_carried = carry(signal(*residual_carried), around.residual);
        nb::gil_scoped_release release;
        forward<T>(weight, batch, source, bias ? bias->data() : nullptr, signal(output),
                   padding_left, extension, around, before);
      },
      nb::arg(), nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg().noconvert(),
      nb::arg(), nb::arg(), nb::arg().noconvert().none(), nb::arg(),
      nb::arg().noconvert().none() = nb::none(), nb::arg().noconvert().none() = nb::none());

  m.def(
      "input_grad",
      [](const PackedWeight<T>& weight, const Array<const T>& grad_output,
         const Array<T>& grad_input, i64 padding_left, i64 first_frame) {
        const i64 batch = static_cast<i64>(grad_output.shape(0));
        nb::gil_scoped_release release;
        input_grad<T>(weight, batch, signal(grad_output), signal(grad_input), padding_left,
                      first_frame);
      },
      nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg());

  m.def(
      "weight_grad",
      [](const Array<const T>& input, const Array<const T>& grad_output,
         const Contiguous<T>& grad_weight, i64 groups, i64 stride, i64 dilation, i64 padding_left,
         int extension) {
        const Layer layer =
            layer_of(static_cast<i64>(grad_weight.shape(0)), static_cast<i64>(grad_weight.shape(1)),
                     static_cast<i64>(grad_weight.shape(2)), groups, stride, dilation);
        const i64 batch = static_cast<i64>(input.shape(0));
        nb::gil_scoped_release release;
        weight_grad<T>(layer, batch, signal(input), signal(grad_output), grad_weight.data(),
                       padding_left, extension);
      },
      nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg(),
      nb::arg(), nb::arg(), nb::arg());
}

// The same on addresses and strides in elements, for callers whose arrays are not NumPy's: a
// tensor's data_ptr() costs nothing, and leaves the tensor as it was.
template <class T>
Signal<T> signal_at(std::uintptr_t address, i64 batch_stride, i64 channel_stride,
                    i64 position_stride, i64 length) {
  return {reinterpret_cast<T*>(address), batch_stride, channel_stride, position_stride, length};
}

template <class T>
void bind_addresses(nb::module_& m, const char* pack_name, const char* weight_grad_name,
                    const char* bias_grad_name) {
  m.def(
      pack_name,
      [](std::uintptr_t weight, i64 in_channels, i64 out_per_group, i64 kernel, i64 groups,
         i64 stride, i64 dilation, bool for_input_grad, bool once) {
        const Layer layer = layer_of(in_channels, out_per_group, kernel, groups, stride, dilation);
        nb::gil_scoped_release release;
        return new PackedWeight<T>(reinterpret_cast<const T*>(weight), layer,
                                   for_input_grad ? Direction::input_grad : Direction::forward,
                                   once ? Packing::once : Packing::kept);
      },
      nb::rv_policy::take_ownership);

  m.def("forward_at", [](const PackedWeight<T>& weight, i64 batch, std::uintptr_t x, i64 xb, i64 xc,
                         i64 xl, i64 length, std::uintptr_t bias, std::uintptr_t y, i64 yb, i64 yc,
                         i64 yl, i64 output_length, i64 padding_left, int extension) {
    nb::gil_scoped_release release;
    forward<T>(weight, batch, signal_at<const T>(x, xb, xc, xl, length),
               reinterpret_cast<const T*>(bias), signal_at<T>(y, yb, yc, yl, output_length),
               padding_left, extension);
  });

  m.def("input_grad_at", [](const PackedWeight<T>& weight, i64 batch, std::uintptr_t gy, i64 gyb,
                            i64 gyc, i64 gyl, i64 output_length, std::uintptr_t gx, i64 gxb,
                            i64 gxc, i64 gxl, i64 frames, i64 padding_left, i64 first_frame) {
    nb::gil_scoped_release release;
    input_grad<T>(weight, batch, signal_at<const T>(gy, gyb, gyc, gyl, output_length),
                  signal_at<T>(gx, gxb, gxc, gxl, frames), padding_left, first_frame);
  });

  m.def(
      weight_grad_name, [](i64 batch, std::uintptr_t x, i64 xb, i64 xc, i64 xl, i64 length,
                           std::uintptr_t gy, i64 gyb, i64 gyc, i64 gyl, i64 output_length,
                           std::uintptr_t gw, i64 in_channels, i64 out_per_group, i64 kernel,
                           i64 groups, i64 stride, i64 dilation, i64 padding_left, int extension) {
        const Layer layer = layer_of(in_channels, out_per_group, kernel, groups, stride, dilation);
        nb::gil_scoped_release release;
        weight_grad<T>(layer, batch, signal_at<const T>(x, xb, xc, xl, length),
                       signal_at<const T>(gy, gyb, gyc, gyl, output_length),
                       reinterpret_cast<T*>(gw), padding_left, extension);
      });

  m.def(bias_grad_name, [](i64 batch, i64 channels, std::uintptr_t gy, i64 gyb, i64 gyc, i64 gyl,
                           i64 output_length, std::uintptr_t gb) {
    nb::gil_scoped_release release;
    bias_grad<T>(batch, channels, signal_at<const T>(gy, gyb, gyc, gyl, output_length),
                 reinterpret_cast<T*>(gb));
  });
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
  bind_type<float>(m, "PackedWeightFloat32");
  bind_type<double>(m, "PackedWeightFloat64");
  bind_addresses<float>(m, "pack_float32_at", "weight_grad_float32_at", "bias_grad_float32_at");
  bind_addresses<double>(m, "pack_float64_at", "weight_grad_float64_at", "bias_grad_float64_at");
  m.def("same_bytes_at", [](std::uintptr_t a, std::uintptr_t b, std::size_t count) {
    nb::gil_scoped_release release;
    return std::memcmp(reinterpret_cast<const void*>(a), reinterpret_cast<const void*>(b), count) ==
           0;
  });
  m.def("multiply_adds", &multiply_adds, nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "read_floats_at",
      [](std::uintptr_t values, i64 count) {
        return read_floats(reinterpret_cast<const float*>(values), count);
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "copy_bytes_at",
      [](std::uintptr_t from, std::uintptr_t to, i64 bytes, i64 times) {
        copy_bytes(reinterpret_cast<const void*>(from), reinterpret_cast<void*>(to), bytes, times);
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def("built_instruction_sets", [] { return names(built_instruction_sets()); });
  m.def("available_instruction_sets", [] { return names(available_instruction_sets()); });
  m.def("instruction_set", [] { return instruction_set().name; });
  m.def("use_instruction_set", [](const std::string& name) {
    for (const InstructionSet* set : available_instruction_sets())
      if (name == set->name) return use_instruction_set(*set);
    throw nb::value_error("no such instruction set on this machine");
  });
  m.def("get_num_threads", &get_threads);
  m.def("set_num_threads", &set_threads);
  m.def("has_openmp", &has_openmp);
  m.attr("compiler") =
#if defined(__clang__)
      "Clang " __clang_version__;
#else
      "GCC " __VERSION__;
#endif
}
