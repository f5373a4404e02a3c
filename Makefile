# make help lists the targets. Each installs .venv by itself, once; after that no network is needed.
PYTHON ?= python3
PIP_OPTIONS ?=
SEEDS ?= 5
GPUS ?= 0
STUDY ?= kd_stages
MOSI ?=
MOSEI ?=
OVERRIDES ?=
QUICK ?=
ONLY ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed
NOTEBOOKS_INSTALLED := $(VENV)/.notebooks-installed
# one version for everybody; on Linux the one whose CPU build pip finds where it is told to look for it
TORCH := torch==2.13.0
export WANDB_MODE ?= offline
# bytecode is written once, when installing: importing Lightning without takes twice as long
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help install demo ablate bench test test-all lint docs reproduce-mosi reproduce-mosei notebooks clean

help:  ## list the targets
	@echo "dhmd: decoupled multimodal distillation"
	@echo
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'
	@echo
	@echo "  PYTHON=$(PYTHON)          the interpreter of .venv"
	@echo "  PIP_OPTIONS=...         handed to pip, for example --index-url of PyTorch's CPU builds"

install: $(INSTALLED)  ## make .venv and install everything into it

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_OPTIONS) "$(TORCH)"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_OPTIONS) --editable ".[dev]"
	@# some packages carry templates that are not Python: their errors do not matter
	-@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

demo: $(INSTALLED)  ## train DHMD on the embedded synthetic corpus and print its metrics (minutes)
	$(BIN)/dhmd train experiment=demo

test: $(INSTALLED)  ## the fast tests
	$(BIN)/python -m pytest -q -n 2 -m "not slow" $(PYTEST_OPTIONS)

test-all: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -q -n 2 $(PYTEST_OPTIONS)

lint: $(INSTALLED)  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_OPTIONS) --editable ".[docs]"
	@touch $@

docs: $(DOCS_INSTALLED)  ## the site, from docs/ and the docstrings, to docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "open docs/_build/html/index.html"

$(NOTEBOOKS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_OPTIONS) --editable ".[notebooks]"
	@touch $@

notebooks: $(NOTEBOOKS_INSTALLED)  ## notebooks/*.ipynb from their sources, executed on synthetic data (minutes)
	$(BIN)/python notebooks/build.py

ablate: $(INSTALLED)  ## every distillation stage taken away in turn on the embedded synthetic corpus: SEEDS=5, two jobs at once; again: goes on
	$(BIN)/dhmd train sweep=kd_stages experiment=probe "seed=range(1111,$$((1111 + $(SEEDS))))" logger=none hydra.sweep.dir=runs/ablate \
		launcher=process hydra.launcher.n=2
	$(BIN)/dhmd results runs/ablate
	$(BIN)/dhmd report runs/ablate -o runs/ablate/report.html

bench: $(INSTALLED)  ## time and memory beside a plain implementation; writes the tables (minutes, on a quiet machine); QUICK=1 only tries it
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

reproduce-mosi: $(INSTALLED)  ## DMD, and DHMD with its stages taken away, on CMU-MOSI: MOSI="aligned.pkl unaligned.pkl" SEEDS=5 GPUS=0 STUDY=kd_stages
	@$(BIN)/dhmd reproduce mosi --data $(MOSI) --seeds $(SEEDS) --gpus $(GPUS) --study $(STUDY) --set $(OVERRIDES)

reproduce-mosei: $(INSTALLED)  ## the same on CMU-MOSEI: MOSEI="aligned.pkl unaligned.pkl"
	@$(BIN)/dhmd reproduce mosei --data $(MOSEI) --seeds $(SEEDS) --gpus $(GPUS) --study $(STUDY) --set $(OVERRIDES)

clean:  ## remove what was built (.venv, caches); run folders stay
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
