# make demo           install, export the bundled digits model, verify it, compare accuracies
# make test           install, lint, type-check, test: what CI runs. As root it also installs the Debian packages of
#                     the examples' tests (SYSTEM=no leaves them; tests that need one are then skipped)
# make slow           the tests that take minutes
# make docs           the manual, into build/site; a warning is an error
# make release-check  wheel and sdist: contents, then the demo from the wheel under each Python that is here; minutes
# make matrix         every variant to every target at full size: hours, a finished row is kept; also VARIANTS=... TARGETS=... LATENCY=no
# make counts         parameters and multiply-adds of every variant, for `slide-export variants`
# make faults         damaged files, killed processes, failed system calls: one figure a suite; resumable; also SUITES=... CASES=... SEED=...
# make mutants        the modules that decide, changed in one place at a time; hours; resumable; also FILES=... REST=... SEED=...
# make arm64          verify the digits' bundles with ARM64 kernels, emulated; minutes a target; needs Debian's mmdebstrap, as root; also TARGETS=...
# make bench          the measurements of tests/benchmarks/; nothing else should run meanwhile

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --no-compile --constraint .ci/constraints.txt
# pip compiles 11,000 files one by one, this on every processor; some are of another Python and do not compile.
COMPILE := $(BIN)/python -W ignore -m compileall -q -j 0 .venv/lib >/dev/null || true
SOURCES := exporter models calibration deploy_examples tests docs setup.py

# The extras of pyproject.toml that `make demo` and all the rest need; a stamp a set.
TARGETS_READY := .venv/.targets
DEV_READY := .venv/.dev

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow bench matrix faults mutants arm64 counts lint docs release-check system clean

demo: $(TARGETS_READY)
	$(BIN)/slide-export demo

# One OpenMP thread a process: threads of several test processes would wait for each other.
test: system lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"

slow: $(DEV_READY)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --no-build-isolation --editable '.[formats-dev]'
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow

bench: $(DEV_READY)
	$(BIN)/python -m tests.benchmarks

matrix: $(DEV_READY)
	$(BIN)/python -m tests.benchmarks.matrix --variants $(VARIANTS) --targets $(TARGETS) --precisions $(PRECISIONS) --latency $(or $(LATENCY),yes)

faults: $(DEV_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(SUITES) $(if $(CASES),--cases $(CASES)) --seed $(or $(SEED),0)

mutants: $(DEV_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(FILES) --rest $(or $(REST),400) --seed $(or $(SEED),0)

arm64: $(DEV_READY)
	command -v mmdebstrap || apt-get install -qq --no-install-recommends mmdebstrap
	$(BIN)/python -m tests.benchmarks.arm64 $(TARGETS)

counts: $(DEV_READY)
	$(BIN)/python -m tests.benchmarks.counts

# mypy cannot follow an editable install that renames folders, and import-linter sees no package behind one: both read
# a plain copy.
lint: $(DEV_READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check --quiet $(SOURCES)
	rm -rf build/typed build/lib build/bdist.*
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --target build/typed .
	MYPYPATH=build/typed $(BIN)/mypy -p slide_export
	PYTHONPATH=build/typed $(BIN)/lint-imports --no-cache

docs: $(DEV_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/mkdocs.yml

release-check: $(DEV_READY)
	$(BIN)/python -m tests.release

system:
ifneq ($(SYSTEM),no)
	@sh .ci/system
endif

$(TARGETS_READY): pyproject.toml setup.py .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable '.[onnx,openvino,coreml,tensorrt]'
	$(COMPILE)
	touch $@

$(DEV_READY): $(TARGETS_READY)
	$(PIP) --no-build-isolation --editable '.[all,dev]'
	$(COMPILE)
	touch $@

clean:
	rm -rf .venv build dist *.egg-info exported
