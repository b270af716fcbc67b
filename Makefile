# Every target sets up what it needs. Linux and macOS; on Windows use the conda commands in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLASS ?= class
# One thread for each process: under load two threads are many times slower than one.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

TORCH := $(shell grep '^torch==' constraints.txt)
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: help setup demo test test-slow test-peers lab notebooks mutants attacks grade build format clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.ready  ## The virtual environment

# On Linux the default wheel of PyTorch brings several GB of CUDA. Its CPU index is asked once, briefly: an index that
# cannot be reached would cost minutes of retries. torch alone comes from there.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@if [ "$$(uname -s)" = Linux ] && \
	    $(BIN)/python -c "import urllib.request as r; r.urlopen('$(TORCH_CPU)/torch/', timeout=5)" 2>/dev/null; \
	then echo "torch from its CPU index"; $(BIN)/pip install --quiet --index-url $(TORCH_CPU) $(TORCH); \
	else echo "torch from the default index"; $(BIN)/pip install --quiet $(TORCH); fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## Build the release, make a small class, grade it, show scores, feedback and gradebook
	$(BIN)/coursekit build
	rm -rf $(CLASS)
	$(BIN)/coursekit new-class $(CLASS)
	$(BIN)/coursekit grade --all --course $(CLASS) --cell-seconds 15

test: setup  ## All tests: style, generated files, unit tests, doctests, catalogue, releases, alternatives
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/coursekit build --check
	MPLBACKEND=agg $(BIN)/python -m pytest -n auto -m "not slow"

test-slow: setup  ## Tests that take minutes: kills, clusters, full disks, all attacks, every mistake graded in isolation
	MPLBACKEND=agg COURSEKIT_KILLS=20 COURSE_TEST_ALL=1 $(BIN)/python -m pytest -n auto -m slow

test-peers: setup  ## flowlib against other libraries of flows, with the same weights
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	$(BIN)/python -m pytest tests/peers

lab: setup  ## JupyterLab with the student notebooks
	cd course && ../$(BIN)/jupyter lab

build: setup  ## Rebuild the notebooks from solutions/*.py
	$(BIN)/coursekit build

notebooks: setup  ## Execute every notebook with its solutions; report seconds and memory
	$(BIN)/coursekit run --report build/notebooks.json

mutants: setup  ## Mechanically made wrong variants of every solution against the checks
	MPLBACKEND=agg $(BIN)/python -m tests.mutants

attacks: setup  ## Every attack on grading, and what came of it
	MPLBACKEND=agg $(BIN)/python -m tests.attacks

grade: setup  ## Plain nbgrader against coursekit on a class of 60, measured (half an hour)
	MPLBACKEND=agg $(BIN)/python -m benchmarks.grading

format: setup  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(CLASS) build .ruff_cache
