# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The tests start the program hundreds of times: without its bytecode it is compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch $@

setup: $(READY) ## the environment in .venv, versions pinned by requirements.lock

demo: $(READY) ## a run against a simulated server, up to its report (2 minutes)
	@$(BIN)/python scripts/demo.py

lint: $(READY) ## format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## mypy strict
	$(BIN)/mypy

layers: $(READY) ## the import contracts of ARCHITECTURE.md
	$(BIN)/lint-imports

unit: $(READY) ## pytest; many tests wait, so six at a time
	$(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder

test: lint types layers unit ## everything that a change must pass

test-page: $(READY) ## the page in a real Chromium, its accessibility with axe-core (npm, installed here and nowhere else)
	@command -v npm >/dev/null && npm ci --silent --ignore-scripts --no-audit --no-fund --prefix tests/report/axe \
	  || echo "ACCESSIBILITY IS NOT TESTED: axe-core could not be installed with npm"
	$(BIN)/python -m pytest tests/report/test_report_browser.py tests/report/test_report_axe.py \
	  tests/live/test_live_browser.py tests/live/test_live_axe.py

UV_LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: ## write the locks anew: requirements.lock, and the image's own two (needs uv)
	$(UV_LOCK) --extra dev pyproject.toml -o requirements.lock
	$(UV_LOCK) --constraint requirements.lock pyproject.toml -o docker/run.lock
	echo hatchling | $(UV_LOCK) --constraint requirements.lock - -o docker/build.lock

test-long: $(READY) ## what is left out of `test` for its length: more whole runs, and claims over many seeds
	$(BIN)/python -m pytest -n 2 -m long

test-swarm: $(READY) ## faults with real processes, networks and disks (root, iproute2; 10 minutes)
	$(BIN)/python -m pytest -n 2 --dist load -m swarm tests/faults

scale: $(READY) ## 16 workers and 10,000 users on loopback: counts, memory, CPU, messages (4 minutes)
	@$(BIN)/python -m scripts.swarm.scale

soak: $(READY) ## memory under a light load for 35 minutes
	@$(BIN)/python -m scripts.swarm.soak

test-vllm: $(READY) ## a run against a real vLLM on the CPU, with a tiny model (first time: 1 GB to download)
	@$(BIN)/python scripts/real/vllm.py run --port 18200 --model slow --block-size 32 --num-gpu-blocks-override 33 \
	  --max-model-len 768 -- $(BIN)/probe run capacity --host http://127.0.0.1:18200 --levels 2,6 --hold 20s \
	  --input-tokens 64 --max-tokens 400 --ignore-eos --out reports/runs/vllm --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/vllm memory_wall

test-vllm-batch: $(READY) ## a run against the same vLLM with --max-num-seqs 4, which its diagnosis must name
	@$(BIN)/python scripts/real/vllm.py run --port 18220 --model slow --max-num-seqs 4 --max-model-len 1024 \
	  -- $(BIN)/probe run capacity --host http://127.0.0.1:18220 --levels 2,4,8,12 --hold 15s \
	  --input-tokens 64 --max-tokens 100 --ignore-eos --out reports/runs/vllm-batch --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/vllm-batch batch_limit

test-llamacpp: $(READY) ## a run against a real llama.cpp server with one slot (first time: builds it, 5 to 10 minutes)
	@$(BIN)/python scripts/real/llamacpp.py run --port 18210 --slots 1 -- $(BIN)/probe run capacity \
	  --host http://127.0.0.1:18210 --levels 1,4 --hold 10s --input-tokens 64 --max-tokens 150 --ignore-eos \
	  --out reports/runs/llamacpp --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/llamacpp serialised

test-compose: ## docker-compose.yml for real, up to its reports (needs a Docker engine; 3 minutes)
	@$(PYTHON) scripts/compose.py; code=$$?; [ $$code -eq 77 ] || exit $$code

test-kubernetes: $(READY) ## the example for the Locust operator against its own definition (fetched once)
	@$(BIN)/python scripts/kubernetes.py; code=$$?; [ $$code -eq 77 ] || exit $$code

seeds: $(READY) ## the published RTX 3060 tables, measured on the simulated server (11 minutes)
	@$(BIN)/python -m scripts.seeds

bench-page: $(READY) ## what the report of a big run costs: seconds, memory, size of the page (1 minute)
	@$(BIN)/python -m scripts.page

sim-load: $(READY) ## how near the simulated server keeps to its plan with 1,000 streams (20 seconds)
	@$(BIN)/python scripts/sim_load.py

study-diagnosis: $(READY) ## is the bound named that was built in? Simulated servers of known truth, 12 seeds (3 minutes)
	@$(BIN)/python -m scripts.study.diagnoses

study: $(READY) ## how often the intervals hold the truth, and the search beside fixed sweeps, on virtual time
	@$(BIN)/python -m scripts.study

bench: $(READY) ## the ruler against the truth, a C reader and its peers; writes benchmarks/RESULTS.md (30 minutes)
	@$(BIN)/python -m benchmarks --install-peers; code=$$?; [ $$code -eq 77 ] || exit $$code

examples: $(READY) ## render the pages of the committed real runs anew
	$(BIN)/probe report reports/examples/vllm
	$(BIN)/probe report reports/examples/llamacpp

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
