# make demo   compile the example for this machine and run it on real recordings
# make test   the whole test suite
# make fuzz   random networks for MINUTES, compiled for all targets that run here in turn
# make report the report of the example, and its picture in docs/ (needs chromium)
# They make .venv themselves; make test installs Debian packages where it may.

PYTHON ?= python3
TORCH ?= torch==2.13.0
LIBRARIES := "spikingjelly>=2,<3" "snntorch>=1,<2" "norse>=1.1,<2" "sinabs>=3.1,<4" pbr \
  "brevitas>=0.13,<0.14" "dependencies==2.0.1" unfoldNd \
  "openvino>=2026.2" "executorch>=1.5,<2" "torchao>=0.18,<0.19" ruamel.yaml tabulate
BIN := .venv/bin
MINUTES ?= 5
SEED ?= 0

.PHONY: demo test fuzz lint tools report clean

demo: .venv/base
	$(BIN)/python examples/nmnist/demo.py

# A process for each core; in each, torch's threads would only wait for each other.
test: .venv/full tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(nproc) --dist worksteal

fuzz: .venv/full tools
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED)

lint: .venv/full
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy -p hqc

report: .venv/base
	$(BIN)/hqc compile examples/nmnist/model.onnx --target host -o build-host
	$(BIN)/hqc report build-host --search examples/nmnist/search -o build-report/report.html
	chromium --headless --no-sandbox --hide-scrollbars --virtual-time-budget=20000 \
	  --window-size=1100,5120 --screenshot=docs/report.png build-report/report.html

tools:
	@sh tests/install_tools.sh

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hqc needs Python 3.11 or newer; say which: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/base: pyproject.toml | .venv/pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# torch first and by itself, so that nothing else decides which build of it is installed;
# the libraries that tests compare with, without what they ask for.
.venv/full: pyproject.toml Makefile | .venv/pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[train,nir,dev]"
	$(BIN)/python -m pip install --quiet --no-deps $(LIBRARIES)
	touch $@ .venv/base

clean:
	rm -rf .venv build build-* *.egg-info
