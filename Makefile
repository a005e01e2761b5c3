# make demo: the main job on made-up calls.  make test: lint, types, tests.  Both set up .venv when needed.
PYTHON ?= python3.11
SIZE ?= short
VENV := .venv
STAMP := $(VENV)/.installed
VENV_EXTRAS := .venv-extras
VENV_TENSORFLOW := .venv-tensorflow
VENV_FUZZ := .venv-fuzz
VENV_RESOLVE := .venv-resolve
FUZZ_SECONDS ?= 300
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	--max-worker-restart 0
# A file that joins or leaves a package changes its folder: the strict editable install then has to be made again.
PACKAGES := schemas tasks flows $(shell find src/emolake -type d -not -name __pycache__)

.PHONY: help demo test test-fast test-extras lint format types docs docs-output resolve chaos fuzz bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## set up and run the nightly job on three days of made-up calls (into ./demo)
	$(VENV)/bin/emolake demo demo

# Without tests/cluster, which test-extras runs: they need Ray.
test: lint types docs $(VENV)/.families ## set up, lint, check types, build the documentation, run the tests
	$(PYTEST) --ignore tests/cluster

test-fast: $(STAMP) $(VENV)/.families ## run the tests that need no server and are in no slow module (under 90 s on 2 cores)
	$(PYTEST) -m "not server and not slow"

# Without conftest.py, which needs all of the lock.
test-extras: $(VENV_EXTRAS)/.installed $(VENV_TENSORFLOW)/.installed $(STAMP) $(VENV)/.dashboard $(VENV)/.ray ## run the tests of what conflicts with the lock, in environments of its own, of the dashboard, and of clusters
	$(VENV)/bin/python -m pytest tests/dashboard tests/cluster
	$(VENV_EXTRAS)/bin/python -m pytest --noconftest tests/extras
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV_TENSORFLOW)/bin/python -m pytest --noconftest tests/extras_tensorflow

lint: $(STAMP) ## check style, format and which package imports which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

format: $(STAMP) ## fix what ruff can fix, and format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

types: $(STAMP) ## check types
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file tests/mypy.ini tests

# Not --quiet, which would keep warnings from --strict too.
docs: $(STAMP) ## build the documentation into site/, to be read from files; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

docs-output: $(STAMP) ## run the commands of the documentation and paste what they print; PAGES=docs/tutorial.md for one page
	$(VENV)/bin/python -m tools.docs_reference
	$(VENV)/bin/python -m tools.docs_output $(PAGES)

# Not part of make test, because it needs a package index.
resolve: $(VENV_RESOLVE)/.locked ## ask a package index whether the version ranges resolve on each Python; needs the network
	$(VENV_RESOLVE)/bin/python tools/resolve.py

# tests/ has the small model that the runs are made with.
chaos: $(STAMP) ## cause faults for half an hour, and write docs/chaos.md
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(VENV)/bin/python -m chaos --output docs/chaos.md

# What is found lies in fuzz/corpus/*/found-*; a later run begins with what the earlier ones have come across.
fuzz: $(VENV_FUZZ)/.installed ## set up an environment for it, fuzz the decoder and the pattern parser, FUZZ_SECONDS each
	$(VENV_FUZZ)/bin/python -m fuzz.seeds fuzz/corpus/decoder
	PYTHONPATH=tests $(VENV_FUZZ)/bin/python fuzz/fuzz_decoder.py -max_total_time=$(FUZZ_SECONDS) -timeout=60 \
		-max_len=20000 -rss_limit_mb=4096 -artifact_prefix=fuzz/corpus/decoder/found- fuzz/corpus/decoder
	mkdir -p fuzz/corpus/pattern
	PYTHONPATH=tests $(VENV_FUZZ)/bin/python fuzz/fuzz_pattern.py -max_total_time=$(FUZZ_SECONDS) -timeout=60 \
		-max_len=400 -artifact_prefix=fuzz/corpus/pattern/found- fuzz/corpus/pattern

bench: $(STAMP) $(VENV)/.ray ## measure speed into bench/RESULTS.md; SIZE=full for hours instead of minutes, ONLY=limit for one file
	$(VENV)/bin/python -m bench.all --size $(SIZE) $(if $(ONLY),--only $(ONLY))

clean: ## remove the environments and what the demo and the install wrote
	rm -rf $(VENV) $(VENV_EXTRAS) $(VENV_TENSORFLOW) $(VENV_FUZZ) $(VENV_RESOLVE) build demo site

# The packages of the optional families that live beside the lock.
$(VENV)/.families: $(VENV)/.locked requirements-families.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements-families.lock
	touch $@

# Beside the lock too, but nothing that make test needs.
$(VENV)/.dashboard $(VENV)/.ray: $(VENV)/.%: $(VENV)/.locked requirements-%.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-$*.lock
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: $(VENV)/bin/python requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	touch $@

# Strict, because type checkers do not see through the default editable install.
$(STAMP): $(VENV)/.locked pyproject.toml $(PACKAGES)
	rm -rf build
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=strict --editable .
	touch $@

# torch first and with whatever its wheel needs on this machine; the rest without, as the lock leaves torchaudio out.
$(VENV_EXTRAS)/.locked $(VENV_TENSORFLOW)/.locked: .venv-%/.locked: requirements-%.lock
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint $< torch
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

# Without torch: what is fuzzed needs none.
$(VENV_FUZZ)/.locked: requirements-fuzz.lock
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# tools/resolve.py changes how this pip evaluates environment markers: another version may do that elsewhere.
$(VENV_RESOLVE)/.locked: Makefile
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check pip==26.3
	touch $@

# Not strict: the links of the strict install of $(VENV) lie in build/, which these have to leave alone.
$(VENV_EXTRAS)/.installed $(VENV_TENSORFLOW)/.installed $(VENV_FUZZ)/.installed: %/.installed: %/.locked pyproject.toml $(PACKAGES)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
