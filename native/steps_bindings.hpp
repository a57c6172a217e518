// What Python can call of steps, and how a call of a kernel becomes a step as well.
#pragma once
#include <nanobind/nanobind.h>

#include <stdexcept>
#include <tuple>
#include <type_traits>

#include "released.hpp"
#include "steps.hpp"

namespace fracstride {

nanobind::class_<Steps> bind_steps(nanobind::module_& m);

// Binds what `make` makes of its arguments, a function without arguments: `name(...)` runs it at
// once, and `Steps.name(...)` keeps it as a step, with the objects in `held` alive. A step that
// returns false fails.
template <class Step, class... Arguments, class... Held, class... Extra>
void bind_step(nanobind::module_& m, nanobind::class_<Steps>& steps, const char* name,
               Step (*make)(Arguments...), std::tuple<Held...>, const Extra&... extra) {
  m.def(
      name,
      [make](Arguments... arguments) {
        const Step step = make(arguments...);
        const Released released;
        return step();
      },
      extra...);
  steps.def(
      name,
      [make](Steps& self, Arguments... arguments) {
        const Step step = make(arguments...);
        if constexpr (std::is_same_v<decltype(step()), bool>)
          self.add([step] {
            if (!step()) throw std::runtime_error("a step does not fit to its weights any more");
          });
        else
          self.add(step);
      },
      Held()..., extra...);
}

}  // namespace fracstride
