# Everything a fresh machine with Python 3.11, 3.12 or 3.13 needs. `make` alone lists what there is.

BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install up test laws bench faults scale studio charts asyncapi drill tour lock readme clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv and install what the lock names
$(STAMP): requirements.lock pyproject.toml infra/bootstrap
	@sh infra/bootstrap
	@touch $@

up: $(STAMP) ## Run everything on this machine (ARGS="--port 9000 --data-dir DIR")
	@exec $(BIN)/ledgerline up $(ARGS)

test: $(STAMP) ## Check format, lint, types and run the tests (ARGS="tests/infra -k name")
	@$(BIN)/ledgerline check $(ARGS)

laws: $(STAMP) ## Put the laws of events, commands and reactions to an extension, too (ARGS="-k reaction"; EXTENSION=tests.orchards)
	@LEDGERLINE_EXTENSIONS=$(or $(EXTENSION),tests.orchards) $(BIN)/pytest -q -n0 tests/test_laws.py tests/test_reactions.py $(ARGS)

bench: $(STAMP) ## Measure, side by side with the peers
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group benchmarks
	@nice -n 5 $(BIN)/python -m tests.benchmarks $(ARGS)

faults: $(STAMP) ## Fill disks and let servers hang, then kill, pause, wipe and cut everything in turn under load (ARGS="--commands 300 --seed 7")
	@nice -n 5 $(BIN)/pytest -q -n0 tests/faults/noticing.py tests/faults/deaths.py tests/faults/full_disks.py tests/faults/hung_servers.py
	@nice -n 5 $(BIN)/python -m tests.faults.campaign $(ARGS)

scale: $(STAMP) ## Many of each role, a cluster of NATS that loses a node, and the code of before beside ours (ARGS="-k nats")
	@nice -n 5 $(BIN)/pytest -q -n0 tests/faults/scale.py $(ARGS)

studio: $(STAMP) ## Build real plug-ins, ours and others', through the API, and the C++ client elsewhere; installs what they need, takes minutes (ARGS="-k mda")
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group studio
	@nice -n 5 $(BIN)/pytest -n0 -ra tests/builds/studio.py tests/studio/elsewhere.py tests/studio/windows.py $(ARGS)

charts: $(STAMP) ## Render the Helm chart with Helm's library and hold it to the schemas of Kubernetes; installs both
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group charts
	@$(BIN)/pytest -q -n0 tests/infra/charts.py

asyncapi: $(STAMP) ## Hold /asyncapi.json to the parser of AsyncAPI, which npm installs into a temporary directory
	@there=$$(mktemp -d) && trap 'rm -rf "$$there"' EXIT && \
		npm install --silent --no-save --ignore-scripts --prefix "$$there" @asyncapi/parser@3.6.6 && \
		$(BIN)/python -c 'import sys; from msgspec import json; from api.asyncapi import document; \
			sys.stdout.buffer.write(json.encode(document("https://ledger.example", "nats://ledger.example:4222")))' > "$$there/asyncapi.json" && \
		node tests/asyncapi.mjs "$$there/node_modules" "$$there/asyncapi.json"

drill: $(STAMP) ## Back up under load, restore into an empty place, and compare what both answer
	@nice -n 5 $(BIN)/pytest -q -n0 tests/faults/restore_drill.py

tour: $(STAMP) ## Type the tours of README.md and docs/builds.md as they are written, against a running stack
	@nice -n 5 $(BIN)/pytest -q -n0 tests/journeys/readme.py

lock: $(STAMP) ## Write requirements.lock again from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --output-file requirements.lock $(ARGS)

readme: $(STAMP) ## Write the settings table into README.md again
	@$(BIN)/ledgerline settings --into README.md

clean: ## Remove .venv and caches; data directories stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
