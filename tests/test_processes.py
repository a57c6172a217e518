"""Threads that the system refuses, Ctrl-C, forked and spawned processes, a second import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from python_process import printed, python

from fracstride import config

POSIX = pytest.mark.skipif(os.name != "posix", reason="neither forks nor signals of POSIX here")

# --- Ctrl-C --------------------------------------------------------------------------------------

# The second signal raises. A call that did not look would be over before its handler runs once.
INTERRUPTED = """
    import signal
    import fracstride as fs
    import numpy as np

    fs.set_num_threads({threads})
    rng = np.random.default_rng(0)
    layer = fs.ConvTranspose1d(256, 256, 16, 8, padding="same", rng=0)
    length = 80_000
    x = np.ones((1, 256, length), np.float32)
    gy = np.ones((1, 256, 8 * length), np.float32)
    short = rng.standard_normal((1, 256, 50), np.float32)
    wanted = layer(short)
    signals = []
    def handler(number, frame):
        signals.append(number)
        if len(signals) == 2:
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        {call}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("finished")
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("stopped", np.array_equal(layer(short), wanted))
    """


@POSIX
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "call",
    [
        "layer(x)",
        "fs.conv_transpose1d_input_grad(gy, layer.weight, length, 8, 'same')",
        "fs.conv_transpose1d_weight_grad(x, gy, 16, 8, 'same')",
    ],
    ids=["forward", "input_grad", "weight_grad"],
)
def test_ctrl_c_stops_a_long_call(call: str, threads: int) -> None:
    assert printed(INTERRUPTED.format(threads=threads, call=call)) == "stopped True"


@POSIX
def test_ctrl_c_stops_between_the_steps_of_a_network() -> None:
    code = """
        import signal
        import numpy as np
        from fracstride.network.steps import Steps, copy

        source, target = np.ones((1, 1, 2_000_000)), np.zeros((1, 1, 2_000_000))
        steps, last = Steps(), np.zeros((1, 1, 1))
        for _ in range(3000):
            steps.add(copy(target, source))
        steps.add(copy(last, source[:, :, :1]))
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            steps.run()
        except KeyboardInterrupt:
            print("stopped", target.all(), last.any())
        """
    assert printed(code) == "stopped True False"


@POSIX
def test_a_call_within_a_network_leaves_the_rest_interruptible() -> None:
    code = """
        import signal
        import fracstride as fs
        import numpy as np
        from fracstride.network.steps import Steps, copy

        source, target = np.ones((1, 1, 2_000_000)), np.zeros((1, 1, 2_000_000))
        steps, last = Steps(), np.zeros((1, 1, 1))
        steps.add(lambda: fs.conv_transpose1d(np.ones((1, 1, 3)), np.ones((1, 1, 2))))
        for _ in range(3000):
            steps.add(copy(target, source))
        steps.add(copy(last, source[:, :, :1]))
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for run in (steps.run, steps.run_timed):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                run()
            except KeyboardInterrupt:
                print("stopped", last.any())
        """
    assert printed(code).splitlines() == ["stopped False"] * 2


# --- threads that are refused --------------------------------------------------------------------

# Starts at most LIMIT threads beside each other, as a system does that has no more for a process.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int running;

struct start { void *(*function)(void *); void *argument; };

static void ended(void *unused) { atomic_fetch_sub(&running, 1); }

static void *run(void *memory) {
  struct start start = *(struct start *)memory;
  free(memory);
  void *result;
  pthread_cleanup_push(ended, NULL);
  result = start.function(start.argument);
  pthread_cleanup_pop(1);
  return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
                   void *argument) {
  int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
      dlsym(RTLD_NEXT, "pthread_create");
  if (atomic_fetch_add(&running, 1) >= LIMIT) {
    atomic_fetch_sub(&running, 1);
    return EAGAIN;
  }
  struct start *start = malloc(sizeof *start);
  start->function = function;
  start->argument = argument;
  return create(thread, attributes, run, start);
}
"""

MANY = """
    import os
    import time
    import fracstride as fs
    import numpy as np

    layer = fs.ConvTranspose1d(64, 64, 8, 4, padding="same", rng=0)
    x = np.random.default_rng(0).standard_normal((2, 64, 3000), np.float32)
    def work():
        y = layer(x)
        gw = fs.conv_transpose1d_weight_grad(x, y, 8, 4, "same")
        return y.tobytes() + gw.tobytes()
    fs.set_num_threads(1)
    wanted = work()
    for threads in (8, 100, 8):
        fs.set_num_threads(threads)
        assert work() == wanted
    started = lambda: len(os.listdir("/proc/self/task")) - 1
    for _ in range(500):  # those that are too many end by and by
        if started() > 7:
            time.sleep(0.01)
    print(started())
    """

# Four threads of Python make their first calls beside each other.
TOGETHER = """
    import threading
    import fracstride as fs
    import numpy as np

    layer = fs.ConvTranspose1d(64, 64, 8, 4, padding="same", rng=0)
    x = np.random.default_rng(0).standard_normal((2, 64, 3000), np.float32)
    fs.set_num_threads(1)
    wanted = layer(x)
    fs.set_num_threads(8)
    got, all_there = {}, threading.Barrier(4)
    def call(i):
        all_there.wait()
        got[i] = layer(x)
    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(all(np.array_equal(got[i], wanted) for i in range(4)))
    """


@pytest.mark.skipif(not config()["openmp"], reason="built without OpenMP")
@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library, and reads /proc")
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs GCC")
@pytest.mark.parametrize("limit", [0, 1, 5, 12])
def test_fewer_threads_where_the_system_refuses_some(limit: int, tmp_path: Path) -> None:
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-DLIMIT={limit}", source, "-o", shim, "-ldl"],
        check=True,
        timeout=60,
    )
    # (NumPy's BLAS would start threads of its own.)
    preload = {"LD_PRELOAD": str(shim), "OPENBLAS_NUM_THREADS": "1"}
    assert printed(MANY, **preload) == str(min(limit, 7))
    if limit > 8:  # the four threads of Python count, too
        assert printed(TOGETHER, **preload) == "True"


@pytest.mark.skipif(not config()["openmp"], reason="built without OpenMP")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(sys.maxsize < 2**40, reason="needs 64-bit addresses")
def test_stacks_that_do_not_fit() -> None:
    """Each thread asks for more than there are addresses; OpenMP would end the process."""
    assert printed(MANY, OMP_STACKSIZE="200000G", OPENBLAS_NUM_THREADS="1") == "0"


@pytest.mark.skipif(not config()["openmp"], reason="built without OpenMP")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_small_calls_keep_the_threads_of_large_ones() -> None:
    """OpenMP ends threads that a region does without: starting them again takes long."""
    code = """
        import os
        import fracstride as fs
        import numpy as np

        fs.set_num_threads(6)
        layer = fs.ConvTranspose1d(64, 64, 8, 4, padding="same", rng=0)
        large, small = np.ones((1, 64, 3000), np.float32), np.ones((1, 64, 30), np.float32)
        layer(large)
        before = sorted(os.listdir("/proc/self/task"))
        for x in (small, large, small, large):
            layer(x)
        print(len(before) > 5, sorted(os.listdir("/proc/self/task")) == before)
        """
    assert printed(code) == "True True"


# --- processes -----------------------------------------------------------------------------------

FORK = """
    import os, signal, sys
    import fracstride as fs
    import numpy as np

    def tasks():
        return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 2000), np.float32)
    layer = fs.ConvTranspose1d(32, 32, 8, 4, padding="same", rng=0)
    def work():
        y = layer(x)
        gx = fs.conv_transpose1d_input_grad(y, layer.weight, 2000, 4, "same")
        gw = fs.conv_transpose1d_weight_grad(x, y, 8, 4, "same")
        return b"".join(a.tobytes() for a in (y, gx, gw))

    fs.set_num_threads(4)
    alone = tasks()
    wanted = work()
    if fs.config()["openmp"] and tasks():
        assert tasks() > alone, "the parent's call was to have threads"
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that hangs is ended by the system
        ok = work() == wanted
        fs.set_num_threads(2)
        ok = ok and work() == wanted
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm(30)
            os._exit(0 if work() == wanted else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        os._exit(0 if ok else 1)
    print("child", os.waitpid(child, 0)[1], "parent", work() == wanted)
    """


@POSIX
def test_a_forked_child_computes_the_same() -> None:
    done = python(FORK)  # Python may warn of forks beside threads
    assert (done.returncode, done.stdout) == (0, "child 0 parent True\n"), done.stderr


POOL = """
    import multiprocessing
    import threading
    import fracstride as fs
    import numpy as np

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((1, 32, 1000), np.float32)
        return fs.ConvTranspose1d(32, 32, 8, 4, padding="same", rng=seed)(x).tobytes()

    def busy(stop):
        while not stop.is_set():
            work(99)

    if __name__ == "__main__":
        fs.set_num_threads(2)
        wanted = [work(seed) for seed in range(6)]
        stop = threading.Event()
        beside = threading.Thread(target=busy, args=(stop,))
        beside.start()
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            got = pool.map(work, range(6))
        stop.set()
        beside.join()
        print(got == wanted)
    """


@pytest.mark.parametrize(
    "method",
    [pytest.param("fork", marks=POSIX), pytest.param("forkserver", marks=POSIX), "spawn"],
)
def test_a_pool_of_processes(method: str, tmp_path: Path) -> None:
    """The pool is made while another thread computes."""
    program = tmp_path / "pool.py"
    program.write_text("\n".join(line[4:] for line in POOL.format(method=method).splitlines()))
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# --- a second import -----------------------------------------------------------------------------


def test_a_second_import_is_quiet_and_right() -> None:
    code = """
        import sys
        import fracstride as first
        import numpy as np

        for name in [name for name in sys.modules if name.startswith("fracstride")]:
            del sys.modules[name]
        import fracstride as second

        x = np.ones((1, 4, 9), np.float32)
        layers = [package.ConvTranspose1d(4, 4, 4, 2, rng=0) for package in (first, second)]
        a, b = (layer(x) for layer in layers)
        print(first is second, np.array_equal(a, b), np.array_equal(layers[0](x), b))
        """
    assert printed(code) == "False True True"


def test_a_subinterpreter_says_what_is_wrong() -> None:
    """NumPy loads in the main one alone."""
    code = """
        import sys
        import fracstride as fs
        import numpy as np
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        other = interpreters.create()
        try:
            run = f"import sys; sys.path[:] = {sys.path}; import fracstride"
            told = interpreters.run_string(other, run)
        except RuntimeError as error:  # as older versions of Python tell
            told = error
        y = fs.ConvTranspose1d(2, 2, 2)(np.ones((1, 2, 3), "f"))
        print("ImportError" in str(told), y.shape)
        """
    assert printed(code) == "True (1, 2, 4)"
