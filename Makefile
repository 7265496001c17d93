# One command each; `make` lists them. Everything is installed into .venv/, nothing elsewhere.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
SETUP := pyproject.toml setup.py edgesep/core/build.py $(wildcard edgesep/*/*.c edgesep/*/*.h)

.DEFAULT_GOAL := help
.PHONY: help demo test quick live soak lowest install-page lint format bench tflm firmware clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 19

demo: $(VENV)/demo.stamp ## isolate the speech of a sample into demo_output/
	@$(BIN)/python demo/run.py

test: $(VENV)/test.stamp ## run all tests; skips name what they miss
	$(BIN)/python -m pytest

# Training is left out with its tools, which are large; so are the compilers' own checks, and what
# CONTRIBUTING.md lists under Tests.
quick: $(VENV)/dev.stamp ## run the tests that take under a minute together
	$(BIN)/python -m pytest --ignore=tests/test_export.py -m "not slow and not aarch64" \
	    -k "not sanitizers and not warnings"

# Wants the extra "audio", PulseAudio, and a machine with nothing else to do.
live: $(VENV)/dev.stamp ## measure the live loop for twenty-five minutes: sound, load, latency
	$(BIN)/python benchmarks/live.py

soak: $(VENV)/dev.stamp ## run the live loop for twenty minutes; plots load and latency
	$(BIN)/python benchmarks/soak.py

# Into an environment beside .venv, whose compiled core it uses.
LOWEST := isolator engine golden files config stream
lowest: $(VENV)/dev.stamp ## run tests of the frame path with the oldest dependencies allowed
	@$(PYTHON) -m venv $(VENV)/lowest
	@$(VENV)/lowest/bin/pip --disable-pip-version-check install --quiet --only-binary :all: \
	    -r tests/lowest.txt "pytest>=8,<10" "hypothesis>=6.100,<7" "scipy>=1.11,<1.14"
	$(VENV)/lowest/bin/python -m pytest -q -m "not slow" $(LOWEST:%=tests/test_%.py)

# As root, with qemu-user-static, and an hour: the commands of docs/install.md on an emulated board.
install-page: $(VENV)/dev.stamp ## follow the install page (BOARD=arm64-bookworm)
	$(BIN)/python scripts/follow_install.py $(or $(BOARD),arm64-bookworm)

lint: $(VENV)/dev.stamp ## check style and types, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp ## put the code into the common format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/bench.stamp ## measure the transforms and the frame path
	$(BIN)/python benchmarks/stft.py

# SOURCES: checkouts of tflite-micro, CMSIS-NN, flatbuffers, gemmlowp and ruy; nothing is fetched.
tflm: $(VENV)/dev.stamp ## count TFLM + CMSIS-NN's instructions beside ours (SOURCES=DIR)
	@test -n "$(SOURCES)" || { echo "make tflm SOURCES=DIR, see docs/tflm.md" >&2; exit 2; }
	$(BIN)/python benchmarks/tflm.py --sources "$(SOURCES)" --build build/tflm

# Wants gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm. WRITE=--write renews the
# table in edgesep/firmware/figures.json, which manifests quote and tests hold.
# TFLM=FILE adds the columns of `benchmarks/tflm.py --json FILE`.
firmware: $(VENV)/dev.stamp ## run every model on every emulated board; a table
	@$(BIN)/python benchmarks/firmware.py $(WRITE) $(if $(TFLM),--tflm $(TFLM))

clean: ## remove what the commands here made; trained weights in build/ stay
	rm -rf $(VENV) build/lib.* build/temp.* build/bdist.* dist demo_output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f edgesep/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What a command needs beyond the product: its extras of pyproject.toml.
$(VENV)/demo.stamp: EXTRAS := demo
$(VENV)/dev.stamp: EXTRAS := dev
$(VENV)/test.stamp: EXTRAS := dev,export
$(VENV)/bench.stamp: EXTRAS := bench

$(VENV)/%.stamp: $(SETUP) | $(BIN)/pip
	@echo "installing edgesep [$(EXTRAS)] into $(VENV)/ ..."
	@$(PIP) --editable ".[$(EXTRAS)]"
	@touch $@

# PESQ is compiled when it is installed. Where it cannot be, the tests that score with it are skipped.
$(VENV)/test.stamp: $(VENV)/score.stamp
$(VENV)/score.stamp: $(SETUP) | $(BIN)/pip
	@$(PIP) --editable ".[score]" >/dev/null 2>&1 || \
	    echo "PESQ cannot be installed (apt install gcc python3-dev): scoring is not tested"
	@touch $@

# Without python3-venv this leaves no pip behind, so that the next try starts here again.
$(BIN)/pip:
	@$(PYTHON) -m venv $(VENV) || { echo "apt install python3-venv, then try again" >&2; exit 1; }
