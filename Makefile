# Every target sets up what it needs. Linux and macOS; on Windows use the other commands in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLASS ?= class
# How much of `make test-slow`: moments at which a run is killed, and which tests (all, when none are named).
KILLS ?= 20
SLOW ?=
# Which of `make e2e`: -m "not slow" leaves out the visits to every page of the site.
E2E ?=
# One thread for each process: under load two threads are many times slower than one.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

# What is the course's own. A clone also holds classes, student editions and whatever else its user keeps there.
CODE := autograder_tests benchmarks coursekit docs flowlib solutions tests nbgrader_config.py
TEXT := course Makefile postBuild $(wildcard *.md *.toml *.txt *.yml)

# Linux gets PyTorch from here: its default wheel brings several GB of CUDA.
TORCH_CPU := https://download.pytorch.org/whl/cpu

SITE ?= build/site
MATHJAX := 4.1.3

.PHONY: help setup peers demo test test-core test-slow test-peers lab e2e portability resolve notebooks site mutants attacks grade bench bench-smoke build format clean

help:  ## This list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

setup:  ## The virtual environment
	@command -v "$(PYTHON)" >/dev/null || { echo "set-up: there is no $(PYTHON): install Python 3.11 or newer, or name one, as in  make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" coursekit/set_up.py "$(VENV)" --extra dev --constraint constraints.txt --torch-index $(TORCH_CPU)

demo: setup  ## Build the release, make a small class, grade it, show scores, feedback and gradebook
	$(BIN)/coursekit build
	rm -rf $(CLASS)
	$(BIN)/coursekit demo $(CLASS)

test: setup  ## All tests: style, generated files, unit tests, doctests, catalogue, releases, alternatives
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/codespell $(CODE) $(TEXT)
	$(BIN)/coursekit build --check
	MPLBACKEND=agg $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-core: setup  ## What depends on the machine most: set-up, isolation, grading
	MPLBACKEND=agg $(BIN)/python -m pytest -n auto -m "not slow" tests/test_environment.py \
	    $(addprefix tests/coursekit/,isolate test_set_up.py test_new_class.py test_grade.py test_gradebook.py test_console.py)

test-slow: setup  ## Tests that take minutes: kills, clusters, full disks, all attacks, every mistake graded in isolation
	MPLBACKEND=agg COURSEKIT_KILLS=$(KILLS) COURSE_TEST_ALL=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow $(SLOW)

peers: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'

test-peers: peers  ## flowlib against other libraries of flows, with the same weights
	$(BIN)/python -m pytest tests/peers

lab: setup  ## JupyterLab with the student notebooks
	cd course && ../$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root)

e2e: setup  ## The student's and the instructor's path and the web site in a real browser; screenshots in artefacts/
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,e2e]'
	$(BIN)/python -m pytest tests/e2e $(E2E)

portability: setup  ## Colab's versions, Binder's recipe, newer Pythons, systems that are not Unix, memory
	MPLBACKEND=agg $(BIN)/python -m pytest tests/portability

resolve: setup  ## Does every Python that is promised find versions that agree? Asks a package index, installs only uv
	$(BIN)/pip install --quiet --constraint constraints.txt uv
	$(BIN)/python -m tests.resolver

build: setup  ## Rebuild the notebooks from solutions/*.py, and what the site's pages take from them
	$(BIN)/coursekit build
	$(BIN)/python -m docs.ext

notebooks: setup  ## Execute every notebook with its solutions; report seconds and memory
	$(BIN)/coursekit run --report build/notebooks.json

site: setup build/static/mathjax/.$(MATHJAX)  ## The web site with the notebooks' outputs, in build/site/html (PREVIEW=1: of earlier runs)
	$(BIN)/coursekit site $(if $(PREVIEW),--preview) --out $(SITE)/source
	rm -rf $(SITE)/new
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q -j auto -c docs -d $(SITE)/doctrees $(SITE)/source $(SITE)/new
	$(BIN)/python -m tests.site $(SITE)/new
	rm -rf $(SITE)/html && mv $(SITE)/new $(SITE)/html
	@echo "The site: file://$(abspath $(SITE))/html/index.html"

# MathJax is part of the site: a reader's browser asks no other server.
build/static/mathjax/.$(MATHJAX):
	@command -v npm >/dev/null || { echo "make site needs npm to fetch MathJax: apt install npm (Debian, Ubuntu)" >&2; exit 1; }
	npm install --prefix build/npm --no-audit --no-fund --silent mathjax@$(MATHJAX)
	rm -rf $(@D) && mkdir -p $(@D)/fonts/mathjax-newcm-font
	cd build/npm/node_modules/mathjax && cp -R LICENSE a11y input sre tex-chtml.js ui ../../../static/mathjax
	cp -R build/npm/node_modules/@mathjax/mathjax-newcm-font/chtml $(@D)/fonts/mathjax-newcm-font
	touch $@

mutants: setup  ## Mechanically made wrong variants of every solution against the checks
	MPLBACKEND=agg $(BIN)/python -m tests.mutants

attacks: setup  ## Every attack on grading, and what came of it
	MPLBACKEND=agg $(BIN)/python -m tests.attacks

grade: setup  ## Plain nbgrader against coursekit on a class of 60, measured (half an hour)
	MPLBACKEND=agg $(BIN)/python -m benchmarks.grading

bench: peers  ## The course measured against the field, and the page of it (45 minutes; PART=layers: one part; FRESH=1: anew)
	$(BIN)/python -m benchmarks $(PART) $(if $(FRESH),--fresh)
	$(BIN)/python -m docs.ext

bench-smoke: peers  ## The same in two minutes, to see that it works; results in build/bench/
	$(BIN)/python -m benchmarks $(PART) --smoke --fresh

format: setup  ## Format the code
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(CLASS) build .ruff_cache
