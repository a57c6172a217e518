#include "plan.hpp"

#include <algorithm>
#include <numeric>

namespace fracstride {
namespace {

// Rows of one product share their frames. Where the phases of a layer lie further apart than this
// many frames (large dilations), each gets a product of its own.
constexpr i64 widest_spread = 16;

void lay_out(Plan& plan, Product& product, const Format& format) {
  const i64 rows = row_count(product);
  const Axis& most = product.segments[0].axis;
  product.pairs =
      format.pairs && most.channels * most.phases > 1;  // one term alone fills half a pair
  for (Segment& s : product.segments)
    s.words = divide_up(s.axis.channels * s.axis.phases, product.pairs ? 2 : 1);
  product.steps = 0;
  for (const Segment& s : product.segments) product.steps += s.words * s.shifts;
  product.step_stride = std::min(format.panel_rows, divide_up(rows, format.lanes) * format.lanes);
  product.panel_stride = product.steps * product.step_stride;
  product.packed_offset = plan.packed_group;
  plan.packed_group += divide_up(rows, format.panel_rows) * product.panel_stride;
}

bool has_filters(const Layer& layer) { return layer.in_channels == 1 && layer.out_channels == 1; }

}  // namespace

i64 row_count(const Product& product) { return product.rows.channels * product.rows.phases; }

Taps taps_of(const Layer& layer) {
  const i64 g = std::gcd(layer.stride, layer.dilation);
  Taps taps{};
  taps.step = layer.stride / g;
  taps.frames = layer.dilation / g;
  taps.phases = std::min(taps.step, layer.kernel);
  taps.most = (layer.kernel - 1) / taps.step + 1;
  taps.most_phases = std::min(layer.kernel - (taps.most - 1) * taps.step, taps.phases);
  taps.all_samples = g == 1 && layer.kernel >= layer.stride;
  return taps;
}

Layer for_one_frame(const Layer& layer) {
  Layer alone = layer;
  alone.stride = layer.dilation * layer.kernel;
  return alone;
}

Plan plan_forward(const Layer& layer, const Format& format) {
  const Taps taps = taps_of(layer);
  Plan plan{};
  plan.filters = has_filters(layer);
  const auto add = [&](i64 first_phase, i64 phases, i64 shifts) {
    Product p{};
    p.rows = {layer.out_channels, phases, first_phase};
    p.segments[0] = {{layer.in_channels, 1, 0}, shifts, layer.in_channels};
    p.shift_frames = shifts > 1 ? -taps.frames : 0;
    p.weight_row = layer.kernel;
    p.weight_channel = layer.out_channels * layer.kernel;
    p.weight_shift = taps.step;
    if (!plan.filters) {
      lay_out(plan, p, format);
    } else {
      // Tap first_phase + row + j*step of the one filter is already where a panel would have it.
      p.steps = shifts;
      p.packed_offset = first_phase;
      p.panel_stride = format.panel_rows;
      p.step_stride = taps.step;
    }
    plan.products.push_back(p);
  };
  const auto add_class = [&](i64 first_phase, i64 phases, i64 shifts) {
    if (phases == 0 || shifts == 0) return;
    if ((phases - 1) * layer.dilation / layer.stride > widest_spread)
      for (i64 i = 0; i < phases; ++i) add(first_phase + i, 1, shifts);
    else
      add(first_phase, phases, shifts);
  };
  add_class(0, taps.most_phases, taps.most);
  add_class(taps.most_phases, taps.phases - taps.most_phases, taps.most - 1);
  if (plan.filters) plan.packed_group = layer.kernel;
  return plan;
}

Plan plan_input_grad(const Layer& layer, const Format& format) {
  const Taps taps = taps_of(layer);
  Plan plan{};
  plan.filters = has_filters(layer);
  Product p{};
  p.transposed = true;
  p.rows = {layer.in_channels, 1, 0};
  p.segments[0] = {{layer.out_channels, taps.most_phases, 0}, taps.most, 0};
  const i64 fewer = taps.most > 1 ? taps.phases - taps.most_phases : 0;
  p.segments[1] = {{fewer ? layer.out_channels : 0, fewer, taps.most_phases}, taps.most - 1, 0};
  p.shift_frames = taps.most > 1 ? taps.frames : 0;
  p.weight_row = layer.out_channels * layer.kernel;
  p.weight_channel = layer.kernel;
  p.weight_shift = taps.step;
  if (plan.filters)
    lay_out(plan, p, {1, 1, false});
  else
    lay_out(plan, p, format);
  plan.products.push_back(p);
  return plan;
}

Plan plan_conv1d(const Layer& layer, const Format& format) {
  Plan plan = plan_input_grad(layer, format);
  Product& p = plan.products[0];
  p.falling = layer.stride == 1;
  if (p.falling) p.shift_frames = -p.shift_frames;
  return plan;
}

Range frames_onto(const Product& product, const Layer& layer, i64 padding_left, i64 output_length) {
  const i64 first_phase = product.rows.first_phase;
  const i64 last_phase = first_phase + product.rows.phases - 1;
  const i64 first = -floor_div(last_phase * layer.dilation - padding_left, layer.stride);
  const i64 last =
      floor_div(output_length - 1 + padding_left - first_phase * layer.dilation, layer.stride);
  return {first, std::max(first, last + 1)};
}

}  // namespace fracstride
