# Two commands matter: `make demo` and `make test`. Both build what they need in this folder.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := .uv/bin/uv
UV_PINNED := uv==0.13.9
DATA ?=
export TERRALIMB_HOME ?= $(CURDIR)/var
SBOM ?= build/sbom.cdx.json
# The interpreter of this environment only: nothing leaks in from the caller's. Bytecode is kept, for every process of
# a test or a run would else compile the whole source again.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo up test check lint types contracts soak bench docs sbom clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.installed  ## build .venv from the hashed requirements.lock

# uv from the path where there is one, else from PyPI into this folder (Debian's pip refuses to install elsewhere).
$(UV):
	@if command -v uv >/dev/null; then mkdir -p $(@D) && ln -sf "$$(command -v uv)" $@; \
	elif $(PYTHON) -m venv .uv >/dev/null 2>&1; then .uv/bin/python -m pip install --quiet $(UV_PINNED); \
	else rm -rf .uv; $(PYTHON) -m pip install --quiet --break-system-packages --target .uv $(UV_PINNED) \
	  || { echo "no way to fetch uv: install Debian's python3-venv or python3-pip, or uv itself" >&2; exit 1; }; fi
	@$@ --version

$(VENV)/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q -j 2 $(VENV)/lib > /dev/null || true
	@touch $@

demo: setup  ## the main job end to end; DATA=DIR runs it on real files
	$(BIN)/terralimb demo $(if $(DATA),--data $(DATA))

up: setup  ## keep store, scheduler and their pages running
	$(BIN)/terralimb up

# Tests that start processes of their own come alone, for some of them time what they see.
test: lint types contracts  ## everything: what .ci/run calls
	rm -f .coverage .coverage.*
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not chain" --cov --cov-report=
	$(BIN)/python -m pytest -m chain --cov --cov-append --cov-report=
	$(BIN)/coverage report --skip-covered --include='processors/*,retrieval/*' --fail-under=95
	$(BIN)/coverage report --skip-covered --include='products/*,infra/*' --fail-under=85

check: lint types contracts  ## the fast loop
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -x -n 2 --dist loadfile tests/unit tests/architecture -m "not chain"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/numpydoc lint $$(git ls-files 'processors/*.py' 'retrieval/*.py' 'products/*.py')

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

soak: setup  ## long fault and load runs
	$(BIN)/python -m pytest tests/soak -m soak
	$(BIN)/python tests/benchmarks/downlink_chain.py --long

bench: setup  ## benchmarks, relative to a limit or a peer in the same run
	$(BIN)/python tests/benchmarks/downlink_coding.py
	$(BIN)/python tests/benchmarks/downlink_chain.py
	$(BIN)/python tests/benchmarks/occultation.py
	$(BIN)/python tests/benchmarks/pansharpening.py
	$(BIN)/python tests/benchmarks/imagery_chain.py
	$(BIN)/python tests/benchmarks/package_scale.py
	$(BIN)/python tests/benchmarks/emergency_latency.py
	$(BIN)/python -m tests.benchmarks.delivery
	$(BIN)/python -m tests.benchmarks.announcement
	$(BIN)/python tests/benchmarks/main_job.py $(if $(DATA),--data $(DATA))

docs: setup  ## generated pages of the documentation
	$(BIN)/python -m infra.documentation

# Without serial number and time, so that the same lock gives the same octets; tests/chain/test_delivery_sbom.py
# validates it, which takes the generator's own way too long.
sbom: setup  ## bill of materials of the locked environment, CycloneDX 1.6
	@mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
	  --output-format JSON --output-reproducible --no-validate --output-file $(SBOM) $(BIN)/python

lock: $(UV)  ## resolve requirements.lock anew
	$(UV) pip compile --quiet --python-version 3.11 --no-header --generate-hashes --no-emit-index-url --all-extras \
	  --group airflow --group embedded --group test --group lint --group build pyproject.toml -o requirements.lock

clean:  ## remove state between runs, not the environment
	rm -rf var
