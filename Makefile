# make run    open napari on the sample tissue (or DATA=file.h5ad) and do the main job
# make test   everything: core, plugin and GUI tests, on a virtual screen where there is none
# make check  lint, types and the architecture
# make bench  the benchmarks, each beside its peer or its limit
# WORKERS=0 runs the tests in one process, ARGS="-k name" some of them.
# Each creates .venv first, and says what it does. VENV=path and PYTHON=python3.12 change where.

SHELL := /bin/bash
export VENV ?= .venv
export PYTHON ?=
DATA ?=
GENE ?=
OUT ?= celldyn-out
WORKERS ?= 2

.PHONY: run test check bench setup clean

setup:
	@scripts/setup

run: setup
	@scripts/on-screen $(VENV)/bin/python -m napari_celldyn.demo \
	    $(if $(DATA),--data "$(DATA)") $(if $(GENE),--gene "$(GENE)") --out "$(OUT)"

test: setup
	@scripts/on-screen --virtual $(VENV)/bin/python -m pytest -n $(WORKERS) $(ARGS)

check: setup
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: setup
	@for each in benchmarks/bench_*.py; do \
	    echo "== $$each"; scripts/on-screen --virtual $(VENV)/bin/python $$each || exit 1; done

clean:
	rm -rf $(VENV) $(OUT)
