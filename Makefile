# The door to everything. It needs Python 3.11 and make; what else a target needs, it sets up itself.
#
#   make run     start the product on this machine, with the demo county; Ctrl-C stops it
#   make phone   play one inspector's day against the running product
#   make test    check everything, run every test on SQLite and those with a database on PostgreSQL
#   make help    the rest

HOST ?= 127.0.0.1
PORT ?= 8000
URL ?= http://$(HOST):$(PORT)
VAR_DIR ?= var
# Processes of pytest: one more than the cores of the smallest machine, since tests often wait for a server.
WORKERS ?= 3
# For each target of `make fuzz`.
SECONDS ?= 60
FUZZ ?= xml multipart json
# More arguments for pytest: make test-sqlite PYTEST="-k findings -x"
PYTEST ?=

LOCKS := deploy/requirements
TOOLS := var/tools
SETUP := deploy/venv.sh
PY := .venv/bin/python
PIP_COMPILE := $(TOOLS)/pip/bin/pip-compile --quiet --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras
# Goals that find PostgreSQL, Redis and S3 running, each once for all workers.
WITH_SERVICES = +$(PY) -m tests.services run $(MAKE) --no-print-directory
# What a production start is given; `check` looks at the settings with it and connects to nothing.
AS_PRODUCTION := DUXUE_ENV=production SECRET_KEY=only-to-look-at-the-settings-0123456789-abcdefghijklmnop \
	ALLOWED_HOSTS=duxue.example PUBLIC_URL=https://duxue.example DATABASE_URL=postgres://db/duxue \
	CHANNEL_URL=redis://cache MEDIA_STORE_URL='s3://key:secret@store/duxue?region=us-east-1' \
	PUSH_URL=log:// RECEIPT_KEY=0000000000000000000000000000000000000000000000000000000000000007 \
	SECRETS_KEYS=0000000000000000000000000000000000000000000000000000000000000008

.DEFAULT_GOAL := help
# `make check lock` and the like run one after the other: the targets share .venv and var/.
.NOTPARALLEL:
.PHONY: help run phone test test-sqlite test-postgres pytest-sqlite pytest-postgres check bench fuzz format schema messages lock services dev base swift clean

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "make %-14s %s\n", $$1, $$2 }'

run: base ## start the product on embedded defaults: HOST, PORT, VAR_DIR
	@VAR_DIR='$(VAR_DIR)' exec $(PY) -m server run --host '$(HOST)' --port '$(PORT)'

phone: base ## play an inspector's day against the running product: URL, or HOST and PORT
	@VAR_DIR='$(VAR_DIR)' exec $(PY) -m server phone --url '$(URL)'

test: services check ## check, then every test on SQLite, and those with a database again on PostgreSQL
	$(WITH_SERVICES) pytest-sqlite pytest-postgres

test-sqlite: dev ## the tests on SQLite only: PYTEST="-k findings -x"
	$(WITH_SERVICES) pytest-sqlite

test-postgres: dev ## the tests that have a database, on PostgreSQL only
	$(WITH_SERVICES) pytest-postgres

pytest-sqlite:
	env -u DATABASE_URL $(PY) -m pytest --numprocesses=$(WORKERS) $(PYTEST)

pytest-postgres:
	DATABASE_URL="$${TEST_POSTGRES_URL:?PostgreSQL is not installed: make services}" $(PY) -m pytest --numprocesses=$(WORKERS) $(PYTEST)

check: dev ## style, types, imports, migrations, OpenAPI, settings, translations
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m server makemigrations --check --dry-run
	$(PY) -m server spectacular --validate --fail-on-warn --file $(TOOLS)/openapi.yaml
	@cmp $(TOOLS)/openapi.yaml docs/openapi.yaml || { echo 'docs/openapi.yaml is out of step: run `make schema` and commit it.'; exit 1; }
	$(AS_PRODUCTION) $(PY) -m server check --deploy --fail-level WARNING
	$(PY) deploy/check_messages.py

faults: services dev ## kill every process while phones send, and count: FAULTS="--seed 1 --kills 200"
	$(PY) -m tests.faults $(FAULTS)

bench: services dev ## measure the product beside references, on PostgreSQL
	$(PY) -m tests.benchmarks

fuzz: dev ## fuzz what reads phones' bytes, each target for SECONDS=60, on from what var/fuzz keeps
	@$(SETUP) $(TOOLS)/fuzz $(LOCKS)/fuzz.lock
	@for target in $(FUZZ); do $(TOOLS)/fuzz/bin/python -m tests.fuzz $$target -max_total_time=$(SECONDS) || exit 1; done

format: dev ## put the source into the house's shape
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

schema: dev ## write docs/openapi.yaml anew
	$(PY) -m server spectacular --validate --fail-on-warn --file docs/openapi.yaml

messages: dev ## collect and compile the translations in server/locale
	@mkdir -p server/locale
	$(PY) -m server makemessages --locale=en --no-location --ignore=var --ignore=tests
	$(PY) -m server compilemessages --locale=en --ignore=.venv --ignore=var

# `make lock UPGRADE=--upgrade` takes the newest that pyproject.toml allows. Debian 12's own 3.11.2
# is preferred: what a newer 3.11 chooses need not install there.
lock: ## write the hashed locks anew
	@mkdir -p $(TOOLS)
	@PYTHON="$${PYTHON:-/usr/bin/python3.11 python3.11}" $(SETUP) $(TOOLS)/pip $(LOCKS)/tools.lock
	$(PIP_COMPILE) $(UPGRADE) --output-file=$(LOCKS)/tools.lock $(LOCKS)/tools.in
	$(PIP_COMPILE) $(UPGRADE) --output-file=$(LOCKS)/base.lock pyproject.toml
	$(PIP_COMPILE) $(UPGRADE) --extra=dev --constraint=$(LOCKS)/base.lock --output-file=$(LOCKS)/dev.lock pyproject.toml
	$(PIP_COMPILE) $(UPGRADE) --output-file=$(LOCKS)/swift.lock $(LOCKS)/swift.in
	$(PIP_COMPILE) $(UPGRADE) --output-file=$(LOCKS)/fuzz.lock $(LOCKS)/fuzz.in

services: swift ## install the servers that the tests talk to
	@deploy/test_packages.sh

base:
	@$(SETUP) .venv $(LOCKS)/base.lock

dev:
	@$(SETUP) .venv $(LOCKS)/dev.lock $(LOCKS)/base.lock
	@mkdir -p $(TOOLS)

swift:
	@mkdir -p $(TOOLS)
	@$(SETUP) $(TOOLS)/swift $(LOCKS)/swift.lock

clean: ## remove the environments and caches; the product's data in var/ stays
	rm -rf .venv $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build
	find server mobile_api media_storage tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +
