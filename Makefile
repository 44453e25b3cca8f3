# Everything a person or CI runs. `make help` lists it.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin

.PHONY: help install serve dev lint format docs servers test test-long test-clients test-vllm test-cluster unit bench bench-vllm bench-wire bench-ray simulate soak clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install -q --group dev
	@touch $@

install: .venv/.installed  ## environment and package, no model

serve: install  ## fetch the default model once, then serve (HOST=, PORT=)
	@$(BIN)/chatwright serve --host $(HOST) --port $(PORT)

dev: .venv/.dev  ## what the tests need besides

lint: dev  ## formatting, lint, import contracts, types, sizes
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python tests/sizes.py
	$(BIN)/python docs/generate.py --check

format: dev  ## make the formatter's changes
	$(BIN)/ruff format src tests benchmarks docs
	$(BIN)/ruff check --fix src tests benchmarks docs

docs: dev  ## write the reference pages from the code
	$(BIN)/python docs/generate.py

servers: dev
	@$(BIN)/python tests/servers.py

test: lint servers  ## the whole default suite, as CI runs it
	$(BIN)/pytest -n 2 --dist loadgroup --durations 15

test-long: dev servers  ## forty teams on one server for minutes; hundreds of schemas and tool calls
	CHATWRIGHT_SIMULATION_SECONDS=300 $(BIN)/pytest tests/operations/test_simulation.py
	$(BIN)/pytest -m long --timeout 1800

.venv-clients/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install -q --upgrade 'pip>=25.1'
	.venv-clients/bin/python -m pip install -q --group clients
	@touch $@

tests/clients/node/node_modules: tests/clients/node/package.json
	npm install --prefix tests/clients/node --no-audit --no-fund --ignore-scripts --no-package-lock
	@touch $@

test-clients: dev .venv-clients/.installed tests/clients/node/node_modules  ## LangChain, PydanticAI, Vercel AI SDK and parse() against the server
	$(BIN)/pytest -m clients tests/clients

test-vllm: dev  ## the contract and the doctor through Chatwright in front of a real vLLM (3 GB more, half an hour)
	$(BIN)/python benchmarks/peers/install_vllm.py .venv-vllm
	$(BIN)/pytest tests/contract --engine vllm --timeout 900 --durations 15 -rs

.venv-ray/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install -q --upgrade 'pip>=25.1'
	.venv-ray/bin/python -m pip install -q -e '.[ray]'
	.venv-ray/bin/python -m pip install -q --group dev
	@touch $@

test-cluster: .venv-ray/.installed  ## a real Ray cluster on this machine: deaths, updates, scaling, then the whole contract (490 MB more)
	.venv-ray/bin/pytest -m cluster tests/cluster --timeout 600
	.venv-ray/bin/pytest tests/contract --engine ray --timeout 600

.venv-bench/.installed:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q xllamacpp==2026.10.11549 'matplotlib>=3.10'
	@touch $@

bench: install .venv-bench/.installed  ## measure beside llama.cpp and OpenVINO GenAI; writes docs/performance.md
	$(BIN)/python -m benchmarks.run

bench-vllm: install .venv-bench/.installed  ## measure beside vLLM on the CPU (3 GB more)
	$(BIN)/python benchmarks/peers/install_vllm.py .venv-vllm
	$(BIN)/python -m benchmarks.run beside_vllm

bench-wire: install .venv-bench/.installed  ## measure what Chatwright in front of vLLM costs
	$(BIN)/python benchmarks/peers/install_vllm.py .venv-vllm
	$(BIN)/python -m benchmarks.run wire

bench-ray: install .venv-bench/.installed .venv-ray/.installed  ## measure what a Ray cluster costs, and what a second replica brings
	$(BIN)/python -m benchmarks.run on_ray

simulate: install  ## thousands of replicas by discrete events; writes docs/scaling.md (2 minutes, one core)
	$(BIN)/python -m benchmarks.scale

soak: install  ## ten minutes of 32 random clients: no leak, no changed answer (ARGS="--seconds 60")
	$(BIN)/python -m benchmarks.soak $(ARGS)

clean:  ## remove environments and build products
	rm -rf .venv .venv-bench .venv-clients tests/clients/node/node_modules .venv-vllm .venv-ray .bench build src/*.egg-info
