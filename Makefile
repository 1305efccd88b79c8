# Thin: each target makes sure that .venv has what it needs, then runs one tool. Start with
# `make help`. Variables: PYTHON (3.10 or newer) makes the .venv; ARGS goes to the tool;
# WERROR=OFF lets a newer compiler's warnings pass.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WERROR ?= ON

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
export PATH := $(abspath $(VENV)/bin):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)

# Folders are listed too: their time changes when a file goes.
SOURCES := $(shell find cmake cpp python -name __pycache__ -prune -o -print 2>/dev/null) \
           CMakeLists.txt pyproject.toml README.md LICENSE
INSTALL = $(PIP) install --quiet --no-deps --no-build-isolation --force-reinstall

# Files of tests side by side, one process a core. Idle threads sleep: several processes that spin
# would wait for each other (docs/architecture.md, "On a busy machine").
PYTEST = OMP_WAIT_POLICY=passive $(PY) -m pytest -n $(CMAKE_BUILD_PARALLEL_LEVEL) --dist loadfile

TEST_DEPS = $(addprefix $(VENV)/.deps-,train mimic he dp flower test)

.DELETE_ON_ERROR:
.PHONY: help train test test-all test-quick test-openfhe cpp-test asan tsan lint format bench bench-quick install install-testing clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

train: install $(VENV)/.deps-train  ## the main job: federated training under encryption (ARGS="config.toml")
	$(VENV)/bin/veilsum train $(ARGS)

test: asan install-testing $(TEST_DEPS) test-openfhe  ## C++ tests under asan+ubsan, then the Python tests: what CI runs
	$(PYTEST) -m "not long" $(ARGS)

test-all: asan install-testing $(TEST_DEPS) test-openfhe  ## the same with the Python tests marked `long`
	$(PYTEST) $(ARGS)

test-openfhe: $(VENV)/.tools  ## the OpenFHE engine through the Python package, where it can be had
	$(PY) .ci/test_openfhe.py

test-quick: install-testing $(TEST_DEPS)  ## Python tests without the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

cpp-test: cpp-dev  ## C++ tests, optimised
asan: cpp-asan  ## C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
tsan: cpp-tsan  ## C++ tests under ThreadSanitizer
cpp-%: $(VENV)/.tools
	cmake --preset $* -DVEILSUM_WERROR=$(WERROR)
	cmake --build --preset $*
	ctest --preset $* -j $(CMAKE_BUILD_PARALLEL_LEVEL)

lint: $(VENV)/.deps-lint $(VENV)/.deps-mimic $(VENV)/.deps-flower  ## ruff, mypy, clang-format, clang-tidy
	$(PY) .ci/lint.py $(ARGS)

format: $(VENV)/.deps-lint  ## rewrite Python and C++ files in the project's style
	$(PY) .ci/lint.py --fix

BENCH := $(PY) -m pytest -q -r fE --benchmark-columns=median,iqr,rounds --benchmark-sort=fullname

bench: $(VENV)/.deps-bench  ## all benchmarks: writes bench/results, prints the ratios and their targets
	$(MAKE) --no-print-directory install-testing
	$(BENCH) bench/test_kernels.py $(ARGS)
	$(MAKE) --no-print-directory install
	$(PY) -m bench.peers.environments
	$(BENCH) bench --ignore=bench/test_kernels.py $(ARGS)

bench-quick: install-testing $(VENV)/.deps-bench  ## the same in under three minutes, as a smoke test
	$(BENCH) bench --profile quick $(ARGS)

# Two flavours of the package share .venv, so each one's stamp removes the other's; their build
# folders stay, and changing over costs seconds.
install: $(VENV)/.release  ## the package as users get it, into .venv
install-testing: $(VENV)/.testing  ## the package with the tests' door veilsum._core_testing

$(VENV)/.release: $(SOURCES) $(VENV)/.tools $(VENV)/.deps-core
	@rm -f $(VENV)/.testing
	$(INSTALL) -Cbuild-dir=build/{wheel_tag} .
	@touch $@

$(VENV)/.testing: $(SOURCES) $(VENV)/.tools $(VENV)/.deps-core
	@rm -f $(VENV)/.release
	$(INSTALL) -Cbuild-dir=build/{wheel_tag}-testing -Ccmake.define.VEILSUM_TESTING=ON \
	  -Ccmake.define.VEILSUM_WERROR=$(WERROR) .
	@touch $@

$(VENV)/.tools: .ci/make_venv.sh constraints.txt
	.ci/make_venv.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.deps-%: pyproject.toml constraints.txt .ci/extras.py $(VENV)/.tools
	$(PY) .ci/extras.py $* > $(VENV)/requirements-$*.txt
	$(PIP) install --quiet -c constraints.txt -r $(VENV)/requirements-$*.txt
	@touch $@
.PRECIOUS: $(VENV)/.deps-%

clean:  ## remove builds, caches and .venv (never runs/)
	rm -rf $(VENV) .venv-openfhe .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
