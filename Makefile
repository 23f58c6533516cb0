# One word per act; `make help` lists them.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard protos/rag/v1/*.proto)

.PHONY: help
help: ## List the words
	@grep -hE '^[a-z-]+:.*\#\# ' $(MAKEFILE_LIST) | awk -F ':.*\#\# ' '{printf "  make %-12s %s\n", $$1, $$2}'

# The environment is made from the lock alone, with hashes; uv is only faster.
.venv/.installed: requirements.lock pyproject.toml
	@echo "installing the locked packages into .venv (once, about a minute)"
	@$(PYTHON) -m venv .venv
	@if command -v uv >/dev/null; then \
	  uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements.lock; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock; fi
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: .venv/.installed ## Make .venv from the lock

# A Milvus-compatible server that tests of the way to a server talk to; what it needs does not fit beside the embedded engine.
.venv-milvus/.installed: tests/milvus/requirements.txt
	@echo "installing the test server into .venv-milvus (once)"
	@$(PYTHON) -m venv .venv-milvus
	@.venv-milvus/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

.PHONY: milvus-server
milvus-server: .venv-milvus/.installed ## Install the Milvus-compatible server that the tests use

.PHONY: up
up: install ## Run the five services and a Redis until Ctrl-C
	@$(BIN)/python -m services

.PHONY: demo
demo: install ## Ingest the examples and answer a question (DOC=file.pdf Q="..." for your own)
	@$(BIN)/ragmesh demo $(if $(DOC),--doc "$(DOC)") $(if $(Q),--question "$(Q)")

.PHONY: test
test: lint milvus-server ## Check everything: lint, then all tests
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: lint
lint: install ## Check style, types, the contract and what is generated
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/buf lint
	@$(BIN)/buf format -d --exit-code
	@if git rev-parse -q --verify main:protos >/dev/null 2>&1; then $(BIN)/buf breaking --against '.git#branch=main'; \
	else echo "buf breaking: no main branch to compare with"; fi
	@$(BIN)/python scripts/protos.py --check
	@$(BIN)/python scripts/env_example.py --check
	@$(BIN)/python scripts/handbook.py --check

.PHONY: fmt
fmt: install ## Format the code and the contract
	@$(BIN)/ruff check --fix --exit-zero -q .
	@$(BIN)/ruff format -q .
	@$(BIN)/buf format -w

.PHONY: protos
protos: install ## Generate rag/v1 from protos/
	@$(BIN)/python scripts/protos.py

.PHONY: env-example
env-example: install ## Write .env.example from the settings
	@$(BIN)/python scripts/env_example.py

.PHONY: examples
examples: install ## Write examples/handbook.pdf from its text
	@$(BIN)/python scripts/handbook.py

.PHONY: screenshots
screenshots: install ## Write docs/images/page-*.png from a real run (needs Chromium)
	@$(BIN)/python scripts/screenshots.py

.PHONY: bench-start
bench-start: install ## Measure the start, the idle memory and the stop of the tree
	@$(BIN)/python -m bench.start

.PHONY: bench-ingest
bench-ingest: install ## Measure ingestion: FILES="a.pdf folder" [EACH=1] [PROCESSES=2]
	@$(BIN)/python -m bench.ingest $(if $(EACH),--each) $(if $(PROCESSES),--processes $(PROCESSES)) $(or $(FILES),examples docs)

.PHONY: bench-bombs
bench-bombs: install ## Measure small documents beside hostile PDFs [COPIES=3] [HARDER=1]
	@$(BIN)/python -m bench.bombs $(if $(COPIES),--copies $(COPIES)) $(if $(HARDER),--harder)

.PHONY: bench-memory
bench-memory: install ## Measure the memory that a PDF of 200 and of 2,000 pages takes
	@$(BIN)/python -m bench.memory_of_length

.PHONY: chaos-ingest
chaos-ingest: install ## Kill processes at random during ingestion: KILLS=60 [SEED=...]
	@$(BIN)/python -m bench.chaos --kills $(or $(KILLS),60) $(if $(SEED),--seed $(SEED))

.PHONY: eval
eval: install ## Measure retrieval on a dataset: DATA=folder [SPLIT=train] [MODES=hybrid] [PLOT=1]
	@$(BIN)/ragmesh eval run $(or $(DATA),examples/eval/handbook) $(if $(SPLIT),--split $(SPLIT)) $(if $(MODES),--modes $(MODES)) \
	  $(if $(PLOT),--plot)

.PHONY: eval-cache
eval-cache: install ## Measure which questions share a cached answer, on labelled pairs
	@$(BIN)/python -m bench.answer_cache

.PHONY: eval-answers
eval-answers: install ## Measure answers made of quoted sentences [DATA=folder] [SHOW=1]
	@$(BIN)/python -m bench.answers $(if $(DATA),"$(DATA)") $(if $(SHOW),--show)

.PHONY: bench-retrieval
bench-retrieval: install ## Measure searches over N passages: N=20000 [CORPORA=folder]
	@$(BIN)/python -m bench.retrieval --passages $(or $(N),20000) $(if $(CORPORA),--corpora "$(CORPORA)")

.PHONY: bench-mixed
bench-mixed: install ## Check every answer while documents are written and deleted [SECONDS=60] [SEED=1]
	@$(BIN)/python -m bench.mixed --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

.PHONY: bench-slow-readers
bench-slow-readers: install ## Measure what readers of event streams cost that do not read [READERS=100]
	@$(BIN)/python -m bench.slow_readers $(if $(READERS),--readers $(READERS))

.PHONY: bench-embedder
bench-embedder: install ## Measure the local model in both precisions [ROUNDS=5] [BATCH="256 512 1024"]
	@$(BIN)/python -m bench.embedder $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BATCH),--batch-tokens $(BATCH))

.PHONY: bench-stream
bench-stream: install ## Measure what a token costs on its way, beside the model itself and a plain relay
	@$(BIN)/python -m bench.stream

.PHONY: bench-cache
bench-cache: install ## Measure how fast answers come from the cache [SECONDS=8]
	@$(BIN)/python -m bench.cache $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: bench-leaving
bench-leaving: install ## Measure how soon a model stops whose readers have left [EXITS=200]
	@$(BIN)/python -m bench.leaving $(if $(EXITS),--exits $(EXITS))

.PHONY: bench-gateway
bench-gateway: install ## Measure what the gateway adds to a call, over gRPC and REST [CALLS=400] [ROUNDS=4]
	@$(BIN)/python -m bench.gateway $(if $(CALLS),--calls $(CALLS)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-noisy
bench-noisy: install ## Measure what one tenant at ten times its limit costs another [SECONDS=15] [ROUNDS=3] [LIMIT=600]
	@$(BIN)/python -m bench.noisy_neighbour $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(LIMIT),--limit $(LIMIT))

.PHONY: lock
lock: ## Resolve the packages anew into requirements.lock (needs uv)
	@uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q --upgrade -o requirements.lock

.PHONY: clean
clean: ## Remove what was built; data in .ragmesh stays
	@rm -rf .venv .venv-milvus .mypy_cache .ruff_cache .pytest_cache .hypothesis build results *.egg-info
