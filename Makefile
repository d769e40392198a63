# Everything runs in .venv, which is made from requirements.lock by the first target that needs it.

BIN := .venv/bin
STAMP := .venv/.installed
# By file: some share a server that takes a second to start. In their order: the longest come first.
PYTEST_ARGS ?= -n 3 --dist loadscope --no-loadscope-reorder
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help run run-secure test check format proto proto-baseline lock image demo-envoy bench bench-quick bench-memory bench-envoy chaos fuzz clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(STAMP) ## Start the service with its own Valkey and PostgreSQL, and demo data
	@exec $(BIN)/quota serve --dev

run-secure: $(STAMP) ## The same by TLS, for callers with a service token only
	@exec $(BIN)/quota serve --dev --secure

# Some hundred processes are started, each of which would compile the code anew where none may write it down.
test: $(STAMP) ## Run all tests (choose with PYTEST_ARGS="-k name")
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest $(PYTEST_ARGS)

check: $(STAMP) ## Format, lint, types, import contracts, protos, generated code
	@scripts/check.sh

format: $(STAMP) ## Format the code and repair what the linter can
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format --quiet && $(BIN)/buf format --write --path protos/quota

proto: $(STAMP) ## Generate the code that is made from protos/
	@$(BIN)/python -m scripts.generate

proto-baseline: $(STAMP) ## Accept today's protos as what later changes must not break
	@$(BIN)/python -m scripts.generate --baseline

lock: ## Resolve dependencies anew into the locks (needs uv; LOCK_ARGS=--upgrade)
	@scripts/lock.sh $(LOCK_ARGS)

image: ## Build the image quota-service:local (needs Docker or Podman)
	@scripts/image.sh

demo-envoy: $(STAMP) ## A few calls through Envoy: allowed, streamed, downgraded, denied
	@$(BIN)/python -m examples.envoy.demo

bench-quick: $(STAMP) ## Compare Authorize and Commit with trivial calls for a minute (P1 to P4)
	@$(BIN)/python -m benchmarks.quick

bench: $(STAMP) ## Compare everything with its target, for a quarter of an hour (BENCH_ARGS="--only P6,P7")
	@$(BIN)/python -m benchmarks.bench $(BENCH_ARGS)

bench-memory: $(STAMP) ## What a million calls leave in a worker's memory, for ten minutes (P10)
	@$(BIN)/python -m benchmarks.memory

bench-envoy: $(STAMP) ## Measure what Envoy's filters add to a call, for two minutes
	@$(BIN)/python -m benchmarks.envoy

chaos: $(STAMP) ## Kill, cut off and empty everything under load for CHAOS_SECONDS (480), then count the money
	@$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

fuzz: $(STAMP) ## Make requests of requests for FUZZ_SECONDS (60), and look for faults and hangs
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

clean: ## Remove .venv and caches; data in .quota stays
	@rm -rf .venv build dist *.egg-info clients/python/*.egg-info clients/python/build \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only a change of what is installed leads here; the settings of tools in pyproject.toml do so needlessly but cheaply.
$(STAMP): requirements.lock pyproject.toml clients/python/pyproject.toml scripts/bootstrap.sh
	@scripts/bootstrap.sh
