// A call without Python's lock: other threads of Python run meanwhile.
#pragma once
#include <nanobind/nanobind.h>

#include "interrupts.hpp"

namespace fracstride {

// Releases the lock while it exists. Calls of kernels stop if a signal handler of Python raises.
class Released {
  static bool handler_raised() {
    nanobind::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
  }

  nanobind::gil_scoped_release release_;
  Interruptible interruptible_{&handler_raised};
};

// Interrupted becomes the error that the handler has set.
inline void translate_interrupted() {
  nanobind::register_exception_translator([](const std::exception_ptr& error, void*) {
    try {
      std::rethrow_exception(error);
    } catch (const Interrupted&) {
    }
  });
}

}  // namespace fracstride
