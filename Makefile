# Everything a clone needs: Python 3.11 or 3.12 and make. `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
PACKAGES := streams model producers deploy benchmarks

.PHONY: help setup demo test faults fuzz upgrade docs tools lint audit peers lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY)  ## make .venv with every dependency, by hash; does nothing when it is up to date

# The first Python that every dependency has wheels for: RocksDB's have none for 3.13 yet. PYTHON=... overrides.
$(READY): pyproject.toml requirements.lock
	@fits() { "$$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $$2))" 2>/dev/null; }; \
	found=; \
	if [ -n "$(PYTHON)" ]; then fits "$(PYTHON)" 99 && found="$(PYTHON)"; \
	else for one in python3 python3.12 python3.11; do if fits "$$one" 12; then found="$$one"; break; fi; done; fi; \
	if [ -z "$$found" ]; then \
	  now="$(or $(PYTHON),python3)"; \
	  echo "freshloop: Python 3.11 or 3.12 is needed, but $$now is $$("$$now" --version 2>/dev/null || echo not there);" \
	    "install one, or name it with make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "setting up .venv with $$("$$found" --version); the first time downloads about 1 GB"; \
	"$$found" -m venv .venv
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## run the whole loop on this machine; Ctrl-C stops it. ARGS="--help" shows what it takes
	@$(BIN)/freshloop demo $(ARGS)

test: lint tools  ## set up, check style, types and imports, run all tests. ARGS="-k name" picks some
	@$(BIN)/python -m pytest $(ARGS)

faults: setup  ## kill, pause and damage everything, for about an hour, and compare. ARGS="--only kills" picks some
	@$(BIN)/python -m tests.faults $(ARGS)

fuzz: .fuzz/.ready  ## look for bytes that crash decoders and validators, for ten minutes. ARGS="-max_total_time=60" for less
	@PYTHONPATH=.fuzz $(BIN)/python -m tests.faults.fuzz -max_total_time=600 -max_len=4096 $(ARGS) .fuzz/corpus

.fuzz/.ready: tests/faults/fuzz.lock | setup
	@$(PIP) --require-hashes --only-binary :all: --upgrade --target .fuzz -r tests/faults/fuzz.lock
	@touch $@

upgrade: setup  ## act out a rolling upgrade under load. FROM=commit says from which code
	@$(BIN)/python -m pytest tests/integration/test_upgrade.py $(if $(FROM),--upgrade-from $(FROM)) $(ARGS)

docs: setup  ## build the documentation into site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "open site/index.html"

tools:  ## install Chromium, Prometheus and kcat for the tests that use them, where that is possible (Debian, as root)
	@missing=; \
	command -v chromium chromium-browser google-chrome >/dev/null || missing="chromium"; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v kcat >/dev/null || missing="$$missing kcat"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing $$missing for the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	    || echo "freshloop: $$missing could not be installed, so some tests are skipped" >&2; \
	elif [ -n "$$missing" ]; then \
	  echo "freshloop: no $$missing here, so some tests are skipped; install it to run them" >&2; \
	fi

lint: setup  ## style, types, and who may import whom
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "freshloop: run '.venv/bin/ruff format .'" >&2; exit 1; }
	@$(BIN)/mypy $(PACKAGES) docs/reference.py
	@$(BIN)/lint-imports --no-logo 2>&1 | tail -n 20; exit $${PIPESTATUS[0]}

peers: .peers/.ready  ## install the stream processors that `freshloop bench pipeline` compares with, apart, by hash

.peers/.ready: benchmarks/peers.lock | setup
	@$(BIN)/python -m venv .peers
	@.peers/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r benchmarks/peers.lock
	@touch $@

audit: setup  ## look every locked dependency up in the advisory database
	@$(BIN)/python -m deploy.audit

lock: setup  ## resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra dev \
	  -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra build --extra traces \
	  -c requirements.lock -o deploy/image/requirements.lock pyproject.toml  # what the image holds: no development tools
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --group peers \
	  --python-version 3.11 -o benchmarks/peers.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --group fuzz \
	  --python-version 3.11 -o tests/faults/fuzz.lock

clean:  ## remove .venv and every cache; data in .freshloop stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz dist site
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
