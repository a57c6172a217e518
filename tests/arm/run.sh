#!/usr/bin/env bash
# The tests of the compiled code on an emulated 64-bit Arm: `make test-arm`, on Debian or Ubuntu.
# MINUTES is how long the build and the tests may take, without the first set-up.
#
# build/arm becomes a small Arm system: the C library, Python and OpenMP from the distribution's
# packages, NumPy and pytest from PyPI. GCC's cross compiler builds the package, and qemu-user runs
# Python. Nothing outside of build/arm changes, except that CMake and Ninja are installed beside the
# Python that is given. An emulated processor is many times as slow, so each test has few of its
# cases here: CASES on each instruction set (fewer.py), FRACSTRIDE_TEST_EXAMPLES random layers.
set -euo pipefail
cd "$(dirname "$0")/../.."

HOST_PYTHON=${1:-python3}
MINUTES=${MINUTES:-10}
CASES=${CASES:-6}
export FRACSTRIDE_TEST_EXAMPLES=${FRACSTRIDE_TEST_EXAMPLES:-3}
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

for tool in qemu-aarch64 aarch64-linux-gnu-g++ apt-get dpkg; do
  if ! command -v $tool > /dev/null; then
    echo "make test-arm needs $tool: as root, apt-get install qemu-user g++-aarch64-linux-gnu" >&2
    exit 1
  fi
done

arm=$PWD/build/arm
root=$arm/root
packages=$root/usr/lib/python3/dist-packages

# An apt of its own: no root, no foreign architecture in the system's.
if [ ! -e "$arm/.root" ]; then
  rm -rf "$arm"
  mkdir -p "$root" "$arm"/apt/{lists,archives}/partial
  touch "$arm/apt/status"
  cat > "$arm/apt/conf" << END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::State::lists "$arm/apt/lists";
Dir::State::status "$arm/apt/status";
Dir::Cache "$arm/apt";
Dir::Cache::archives "$arm/apt/archives";
END
  export APT_CONFIG=$arm/apt/conf
  apt-get -qq update
  apt-get -qq --yes --no-install-recommends --download-only install \
    python3-minimal libpython3-dev libstdc++6 libgomp1
  for package in "$arm"/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
  rm -r "$arm/apt"
  touch "$arm/.root"
fi

# Tests start Python by the name that it has for itself, so that has to be one that the system runs.
cat > "$arm/python" << END
#!/bin/sh
exec qemu-aarch64 -L "$root" "$root/usr/bin/python3" "\$@"
END
chmod +x "$arm/python"
mkdir -p "$packages"
echo "import sys; sys.executable = '$arm/python'" > "$packages/executable.pth"

needed="numpy ml_dtypes safetensors hypothesis pytest pytest-xdist rich pip scikit-build-core nanobind"
if ! echo "$needed" | cmp -s - "$arm/.packages"; then
  version=$("$arm/python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
  "$HOST_PYTHON" -m pip install -q -c constraints.txt \
    --target "$packages" --upgrade --python-version "$version" --only-binary :all: \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 \
    $needed
  echo "$needed" > "$arm/.packages"
fi
"$HOST_PYTHON" -m pip install -q cmake ninja

# What follows may take MINUTES.
deadline=$((SECONDS + 60 * MINUTES))
in_time() { timeout $((deadline - SECONDS)) "$@"; }

# The emulated Python asks for the build; CMake, Ninja and the compiler are the machine's own.
rm -rf "$packages"/fracstride* "$arm/native"
PATH="$(cd "$(dirname "$(command -v "$HOST_PYTHON")")" && pwd):$PATH" CXX=aarch64-linux-gnu-g++ \
  CXXFLAGS="-idirafter $root/usr/include" \
  in_time "$arm/python" -m pip install -q --no-deps --no-build-isolation \
  -C build-dir=build/arm/native --target "$packages" .

"$arm/python" -m fracstride

# What reaches compiled code. (The rest is Python, which is the same on every machine.)
tests=(
  tests/test_{against_reference,invariances,functional,conv1d,conv1d_layer}.py
  tests/test_{native,native_conv1d,packed,packed_by_run,weight_memory,fingerprint,import,build}.py
  tests/test_{pointwise,pointwise_functions,antialiased}.py
  tests/streaming/test_{layer,conv1d,compose,carried,rows,pad}.py
  tests/network/test_{lstm,streams,pushes,steps,fusing_random,codes,fourier}.py
)
# A thread that waits for others would keep a core from them.
OMP_WAIT_POLICY=passive PYTHONPATH=tests/arm \
  in_time "$arm/python" -m pytest -q -p no:cacheprovider -p fewer --most-cases "$CASES" \
  -n auto --dist worksteal -k 'not million and not many_taps and not wide_layer' "${tests[@]}"
