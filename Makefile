# make demo    install, export the bundled digits model, verify it, compare accuracies
# make test    install, lint, type-check, test            (what CI runs)
# make slow    the tests that take minutes
# make matrix  every variant to every target at full size: hours, a finished row is kept; also VARIANTS=... TARGETS=... LATENCY=no
# make counts  parameters and multiply-adds of every variant, for `slide-export variants`
# make arm64   verify the digits' bundles with ARM64 kernels, emulated; minutes; needs Debian's mmdebstrap, as root
# make system  Debian packages that tests of the examples use, as root
# make bench   the measurements of tests/benchmarks/; nothing else should run meanwhile

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
SOURCES := exporter models calibration deploy_examples tests

# Debian packages that some tests use beside what pip installs; `make system` installs them, CI does it first.
SYSTEM_PACKAGES := chromium cmake g++ nlohmann-json3-dev openssh-server rsync

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow bench matrix arm64 counts lint system clean

demo: $(READY)
	$(BIN)/slide-export demo

# One OpenMP thread a process: threads of several test processes would wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

matrix: $(READY)
	$(BIN)/python -m tests.benchmarks.matrix --variants $(VARIANTS) --targets $(TARGETS) --precisions $(PRECISIONS) --latency $(or $(LATENCY),yes)

arm64: $(READY)
	command -v mmdebstrap || apt-get install -qq --no-install-recommends mmdebstrap
	$(BIN)/python -m tests.benchmarks.arm64

counts: $(READY)
	$(BIN)/python -m tests.benchmarks.counts

# mypy cannot follow an editable install that renames folders, so it reads a plain one.
lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check --quiet $(SOURCES)
	rm -rf build
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --target build/typed .
	MYPYPATH=build/typed $(BIN)/mypy -p slide_export

$(READY): pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt setuptools
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --no-build-isolation --editable '.[onnx,openvino,coreml,tensorrt,dev]'
	touch $@

system:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(SYSTEM_PACKAGES)
	command -v npm || apt-get install -qq --no-install-recommends nodejs npm

clean:
	rm -rf .venv build *.egg-info exported
