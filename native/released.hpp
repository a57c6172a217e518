// A call without Python's lock: other threads of Python run meanwhile.
#pragma once
#include <nanobind/nanobind.h>

#include "interrupts.hpp"

namespace fracstride {

// Handlers of signals run in Python's main thread alone. Elsewhere nobody asks: a call would wait
// for a thread that keeps the lock.
inline unsigned long main_thread = 0;

// Releases the lock while it exists. Calls of kernels stop if a signal handler of Python raises.
class Released {
  static bool handler_raised() {
    nanobind::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
  }

  nanobind::gil_scoped_release release_;
  Interruptible interruptible_{PyThread_get_thread_ident() == main_thread ? &handler_raised
                                                                          : nullptr};
};

// Interrupted becomes the error that the handler has set. To be called when the module is made.
inline void watch_signals() {
  namespace nb = nanobind;
  main_thread = nb::cast<unsigned long>(
      nb::module_::import_("threading").attr("main_thread")().attr("ident"));
  nanobind::register_exception_translator([](const std::exception_ptr& error, void*) {
    try {
      std::rethrow_exception(error);
    } catch (const Interrupted&) {
    }
  });
}

}  // namespace fracstride
