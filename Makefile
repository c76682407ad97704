# make run: the service on this machine. make test, make lint: what CI calls. make help lists the rest.

PYTHON ?= python3
BIN := .venv/bin
REQUIREMENTS := requirements
PROTOS := $(wildcard protos/embedsvc/v1/*.proto)
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
PEERS := $(basename $(notdir $(wildcard $(REQUIREMENTS)/peers/*.in)))
RESOLVE := $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet
NOT_CUDA := grep -vE '^(torch|triton|cuda-|nvidia-)'

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run init lint format test bench bench-endure bench-trust bench-edge bench-cache bench-cost bench-gpu docs proto stubs baseline lock clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

run: .venv/.run proto ## start the server and Envoy; Ctrl-C stops both
	@$(BIN)/embedsvc up

init: .venv/.run proto ## only make the certificates and the API key
	@$(BIN)/embedsvc init

test: .venv/.test proto tests/js/node_modules/.stamp examples/typescript/node_modules/.stamp convex/node_modules/.stamp ## run every test
	$(BIN)/python -m pytest $(PYTEST)
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix convex test

lint: .venv/.dev .venv/.test proto convex/node_modules/.stamp ## ruff, mypy, import-linter, buf, tsc, prettier
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf build --output -#format=binpb | $(BIN)/buf breaking -#format=binpb --against protos/baseline.binpb
	for what in typecheck lint bundle; do PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix convex --silent run $$what; done

format: .venv/.dev ## format Python and protos
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

bench: .venv/.bench proto ## measure, beside other ways to serve the same model; QUICK=1 for a short run, USD_PER_HOUR for prices
	@$(MAKE) --no-print-directory --keep-going $(PEERS:%=.venv-peers/%/.stamp) || true # what is missing is named as not run
	@$(BIN)/python bench/run.py $(if $(QUICK),--quick) $(if $(USD_PER_HOUR),--usd-per-hour $(USD_PER_HOUR))

bench-endure: .venv/.bench proto ## hurt replicas under load; watch memory over 100,000 requests
	@$(BIN)/python bench/endure.py

bench-trust: .venv/.bench .venv/.test proto convex/node_modules/.stamp ## what a store that hangs does to callers
	@PYTHONPATH=tests $(BIN)/python bench/trust.py

bench-edge: .venv/.bench proto ## what Envoy adds to a short text, beside calling a server directly
	@$(BIN)/python bench/edge.py

bench-cache: .venv/.bench proto ## what the cache saves, and what it costs a request that finds nothing
	@$(BIN)/python bench/cached.py

bench-cost: .venv/.bench ## what a million tokens cost at the pace of a run: RESULT=FILE USD_PER_HOUR=X
	@$(BIN)/python bench/costs.py $(RESULT) --usd-per-hour $(USD_PER_HOUR)

bench-gpu: ## measure on a GPU, correctness first; with .venv where there is one, else with PYTHON and its torch
	PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) bench/gpu.py $(BENCH)

docs: .venv/.run proto ## write docs/configuration.md anew
	$(BIN)/python docs/configuration.py > docs/configuration.md

stubs: .venv/.test examples/typescript/node_modules/.stamp ## generate gen/LANGUAGE for clients: python, typescript, go or java
	PATH="$(CURDIR)/examples/typescript/node_modules/.bin:$(CURDIR)/$(BIN):$$PATH" \
	  buf generate --template buf.gen.$(or $(LANGUAGE),$(error say which: make stubs LANGUAGE=python)).yaml

baseline: .venv/.dev ## declare today's protos the ones that later changes must not break
	$(BIN)/buf build --output protos/baseline.binpb

proto: embedsvc/v1/.stamp ## generate embedsvc/v1 from protos/

embedsvc/v1/.stamp: $(PROTOS) $(wildcard third_party/googleapis/google/*/*.proto) .venv/.run
	@mkdir -p $(@D)
	@$(BIN)/python -m grpc_tools.protoc -Iprotos -Ithird_party/googleapis \
	  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	  --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "embedsvc needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@echo "embedsvc: making .venv; the first time takes some minutes"
	@$(PYTHON) -m venv .venv

# Each set is its own file of exact versions, and its own stamp.
.venv/.run: $(REQUIREMENTS)/runtime.txt $(REQUIREMENTS)/build.txt $(REQUIREMENTS)/edge.txt pyproject.toml | .venv/bin/python
	@echo "embedsvc: installing what it needs to run"
	@$(PIP) -r $(REQUIREMENTS)/runtime.txt -r $(REQUIREMENTS)/build.txt -r $(REQUIREMENTS)/edge.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.%: $(REQUIREMENTS)/%.txt .venv/.run
	@echo "embedsvc: installing the $* set"
	@$(PIP) -r $(REQUIREMENTS)/$*.txt
	@touch $@

# What bench/ compares the service with: each in an environment of its own, whose log says why where there is none.
.venv-peers/%/.stamp: $(REQUIREMENTS)/peers/%.txt | .venv/bin/python
	@echo "embedsvc: installing the peer $*"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $< > $(@D).log 2>&1
	@touch $@

%/node_modules/.stamp: %/package-lock.json .venv/.test
	@$(BIN)/npm ci --prefix $* --silent --no-audit --no-fund
	@touch $@

# The CUDA packages of torch's own builds are left to torch, which pins them: so one file serves the CPU build too.
lock: .venv/.dev ## resolve requirements/*.txt anew
	mkdir -p .cache
	$(RESOLVE) pyproject.toml --all-extras > .cache/all.txt # so that every set gets along with every other
	$(RESOLVE) pyproject.toml --constraint .cache/all.txt | $(NOT_CUDA) > $(REQUIREMENTS)/runtime.txt
	echo 'torch==2.13.0' >> $(REQUIREMENTS)/runtime.txt
	for set in build compare edge onnx vault aws test dev bench; do \
	  $(RESOLVE) pyproject.toml --extra $$set --constraint .cache/all.txt | $(NOT_CUDA) \
	    | grep -vxFf $(REQUIREMENTS)/runtime.txt > $(REQUIREMENTS)/$$set.txt; done
	for peer in $(PEERS); do \
	  $(RESOLVE) $(REQUIREMENTS)/peers/$$peer.in | $(NOT_CUDA) > $(REQUIREMENTS)/peers/$$peer.txt; \
	  echo 'torch==2.13.0' >> $(REQUIREMENTS)/peers/$$peer.txt; done

clean: ## remove everything that is made, models and state included
	rm -rf .venv .venv-peers .cache .run gen embedsvc/v1 examples/typescript/{gen,node_modules} tests/js/node_modules convex/node_modules *.egg-info
