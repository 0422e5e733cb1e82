# Each target sets up what it needs in .venv and build/; the second run is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests side by side, a process on a core, four at most: a process grows to 5 GB, and threads that wait for each other would slow
# each other down. Files stay together until a process has nothing left to do.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --durations=10
NATIVE := CMakeLists.txt pyproject.toml $(shell find csrc -name '*.cpp' -o -name '*.h')

.PHONY: demo check test test-all test-python test-cpp test-sanitize test-neon test-wheel bench peers gpu gpu-wheels test-triton docs format lint tidy wheel clean

demo: $(VENV)/.native  ## Prune CLIP RN50, segment a photo by words, write demo-out/
	$(BIN)/sparse-ovs demo

check: $(VENV)/.native  ## In a minute: format, lint, types, and the files of tests that are quick
	$(MAKE) format lint
	$(PYTEST) --quick

test: test-cpp test-python  ## The default tests: C++ and Python, without the slow ones

test-all: test-cpp test-sanitize $(VENV)/.native  ## Everything: slow cases, and as many examples of properties as find rare faults
	HYPOTHESIS_PROFILE=thorough $(PYTEST) -m ""

test-python: $(VENV)/.native
	$(PYTEST)

# The environment -----------------------------------------------------------------------------------

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	touch $@

$(VENV)/.packages: $(VENV)/.made pyproject.toml constraints.txt README.md
	$(BIN)/python -m pip install -q -c constraints.txt scikit-build-core cmake ninja
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[test,dev,plot]'
	touch $@

# An editable install: Python sources are used where they lie, the library is compiled into .venv. Its build knows the
# C++ tests, which are linked of the same objects; only `make test-cpp` compiles them.
$(VENV)/.native: $(VENV)/.packages $(NATIVE)
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -C cmake.define.SOVS_BUILD_TESTS=ON -e .
	touch $@

# C++ tests, once for each ISA: plain, under the sanitizers, and for Arm under an emulator -----------

test-cpp: $(VENV)/.native
	$(BIN)/cmake --build build/library --target sparse_ovs_tests
	$(BIN)/ctest --test-dir build/library --parallel 2 --output-on-failure --no-tests=error

test-sanitize: $(VENV)/.packages
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DSOVS_BUILD_TESTS=ON -DSOVS_SANITIZE=ON -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja >/dev/null
	$(BIN)/cmake --build build/sanitize
	$(BIN)/ctest --test-dir build/sanitize --parallel 2 --output-on-failure --no-tests=error

# Needs g++-aarch64-linux-gnu and qemu-user, which cannot fork a process that has threads. All tests run on a CPU with dot
# products, those of int8 on one without as well, and whole int8 encoders on both against this machine's bits.
test-neon: $(VENV)/.native
	$(BIN)/cmake -S . -B build/neon -G Ninja -DSOVS_BUILD_TESTS=ON -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja >/dev/null
	$(BIN)/cmake --build build/neon
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/sparse_ovs_tests -fork
	qemu-aarch64 -cpu cortex-a72 -L /usr/aarch64-linux-gnu build/neon/sparse_ovs_tests int8
	SPARSE_OVS_ARM_LIBRARY=build/neon/libsparse_ovs.so $(BIN)/python -m pytest -q tests/engine/test_on_arm.py

# Packages ------------------------------------------------------------------------------------------

wheel: $(VENV)/.packages  ## dist/: sdist, and one wheel for every Python >= 3.11
	rm -rf dist build/dist
	$(BIN)/python -m build --no-isolation --outdir build/dist
	mkdir -p dist
	cp build/dist/*.tar.gz dist/
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/auditwheel repair --wheel-dir dist build/dist/*.whl

# In an environment of its own, which sees the installed packages but not the editable install.
test-wheel: wheel $(VENV)/.native  ## The tests against the unpacked wheel, not the checkout
	rm -rf build/unpacked build/wheel-venv
	$(BIN)/python -m pip install -q --no-deps --target build/unpacked dist/*.whl
	$(BIN)/python -m venv --without-pip build/wheel-venv
	$(BIN)/python -c "import pathlib, sysconfig; own = sysconfig.get_path('purelib'); \
	    place = sysconfig.get_path('purelib', vars={'base': 'build/wheel-venv'}); \
	    pathlib.Path(place, 'packages.pth').write_text(own)"
	PYTHONPATH=build/unpacked SPARSE_OVS_TEST_ROOT=build/unpacked \
	    build/wheel-venv/bin/python -P -m pytest $(WHEEL_TESTS)

bench: $(VENV)/.native  ## Kernels of RN50's layers against dense torch, one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest benchmarks/kernels --benchmark-only --benchmark-group-by=param:layer \
	    --benchmark-columns=median,iqr,rounds

$(VENV)/.peers: $(VENV)/.packages
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[peers]'
	touch $@

peers: $(VENV)/.native $(VENV)/.peers  ## The encoder against ONNX Runtime, OpenVINO, DeepSparse and torch (PEERS="--full", ...)
	$(BIN)/python benchmarks/peers.py $(PEERS)

# A GPU ---------------------------------------------------------------------------------------------

gpu:  ## What a GPU is asked, in order of value, into build/gpu/results.json (GPU="--minutes 10", "--rehearse", ...)
	benchmarks/gpu/run.sh $(GPU)

GPU_WHEELS := build/gpu-wheels
GPU_PYTHON ?= 3.12
# pip takes platforms by their very names.
GPU_PLATFORMS := $(addsuffix _x86_64,manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014)

gpu-wheels: wheel  ## build/gpu-wheels: what a machine without network lacks, and this package's wheel
	rm -rf $(GPU_WHEELS)
	$(BIN)/python -m pip download -q --no-deps --only-binary=:all: --python-version $(GPU_PYTHON) --implementation cp \
	    $(addprefix --platform ,$(GPU_PLATFORMS)) -d $(GPU_WHEELS) -r benchmarks/gpu/wheels.txt
	cp dist/*.whl $(GPU_WHEELS)
	@size=$$(du -sm $(GPU_WHEELS) | cut -f1); test $$size -lt 40 || { echo "expected wheels below 40 MB, got $$size"; exit 1; }

# Triton side by side; a hundred kernels and more are compiled with each.
TRITONS ?= 3.6.0 3.8.0
build/triton/%: $(VENV)/.packages
	$(BIN)/python -m pip install -q --no-deps --target $@ triton==$*

test-triton: $(VENV)/.native $(addprefix build/triton/,$(TRITONS))  ## Every Triton kernel compiled with several Tritons
	$(BIN)/python -m pytest -m "" tests/gpu/kernels/test_triton_versions.py

$(VENV)/.docs: $(VENV)/.packages
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[docs]'
	touch $@

docs: $(VENV)/.native $(VENV)/.docs  ## build/site: the documentation as a website; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

FORMATTED = $(shell find csrc tests/cpp examples -name '*.cpp' -o -name '*.h' -o -name '*.c')

format: $(VENV)/.packages  ## Python by ruff, C++ by clang-format
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

lint: $(VENV)/.packages
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

$(VENV)/.tidy: $(VENV)/.packages
	$(BIN)/python -m pip install -q -c constraints.txt clang-tidy
	touch $@

# A file on each core; the compiler is named as it is, without a launcher such as ccache before it.
tidy: $(VENV)/.tidy  ## clang-tidy over the C++ sources; what it says is an error
	$(BIN)/cmake -S . -B build/tidy -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
	    -DCMAKE_CXX_COMPILER_LAUNCHER= -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja >/dev/null
	find csrc/cpu -name '*.cpp' | xargs -n 1 -P $$(nproc) $(BIN)/clang-tidy -p build/tidy --quiet

clean:
	rm -rf build dist demo-out $(VENV)
