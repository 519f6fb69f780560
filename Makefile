# Every target first installs what it needs into .venv. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The tests start `probe` hundreds of times; without cached bytecode it would be compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

NATIVE := probe_ext/client/wire/native
$(READY): requirements.lock pyproject.toml hatch_build.py $(wildcard $(NATIVE)/*.c $(NATIVE)/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is required, e.g. make PYTHON=python3.12 …")'
	@echo "setting up $(VENV), once: about a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@test -e $(NATIVE)/_reader.abi3.so || $(BIN)/python hatch_build.py || true
	@$(BIN)/python -m pip check
	@touch $@

setup: $(READY) ## create the development environment in .venv, with the versions of requirements.lock

demo: $(READY) ## try it: load-test a simulated server and write the report (2 minutes)
	@$(BIN)/python scripts/demo.py

lint: $(READY) ## check formatting and lint rules with ruff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## check types with mypy (strict)
	$(BIN)/mypy

layers: $(READY) ## check the import contracts described in ARCHITECTURE.md
	$(BIN)/lint-imports

# Some tests wait for processes and servers, so there are more workers than cores. Files are distributed by
# tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder

unit: $(READY) ## run the test suite with coverage, six tests at a time
	$(PYTEST) --cov --cov-report=term:skip-covered

test: lint ## run every check that a change must pass
	@$(MAKE) --no-print-directory -j3 layers types unit

test-page: $(READY) ## test all pages and the web UI in Chromium, and their accessibility with axe-core (needs npm)
	@command -v npm >/dev/null && npm ci --silent --ignore-scripts --no-audit --no-fund --prefix tests/report/axe \
	  || echo "ACCESSIBILITY NOT TESTED: axe-core could not be installed with npm"
	$(BIN)/python -m pytest tests/report/test_report_browser.py tests/report/test_report_axe.py \
	  tests/report/test_other_pages_axe.py tests/live/test_live_browser.py tests/live/test_live_axe.py
	$(BIN)/python -m pytest -m long tests/e2e/test_web_ui.py

UV_LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: ## update all lock files: development, image, documentation, release (needs uv)
	$(UV_LOCK) --extra dev pyproject.toml -o requirements.lock
	$(UV_LOCK) --constraint requirements.lock pyproject.toml -o docker/run.lock
	echo hatchling | $(UV_LOCK) --constraint requirements.lock - -o docker/build.lock
	$(UV_LOCK) --constraint requirements.lock --extra docs pyproject.toml -o scripts/site/requirements.lock
	$(UV_LOCK) --constraint requirements.lock --extra release pyproject.toml -o scripts/release/requirements.lock

# What only these two need is installed on their first use, beside the development environment, which it leaves as it is.
$(VENV)/.%-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	@touch $@

$(VENV)/.docs-ready: LOCK = scripts/site/requirements.lock
$(VENV)/.docs-ready: scripts/site/requirements.lock
$(VENV)/.release-ready: LOCK = scripts/release/requirements.lock
$(VENV)/.release-ready: scripts/release/requirements.lock

release-check: $(VENV)/.release-ready wheel ## check the packages: metadata, and the wheel in a clean environment (2 minutes)
	@$(BIN)/python -m scripts.release.check

docs: $(VENV)/.docs-ready ## execute the example notebook and build the documentation into build/site
	@$(BIN)/python -m scripts.site

wheel: $(READY) ## build the sdist and the wheel without C extension into dist/, with pip constraints for the tested versions
	PROBE_NATIVE=0 $(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python scripts/constraints.py > dist/constraints.txt

test-long: $(READY) ## run the tests too slow for `test`: more end-to-end runs, claims over many seeds, many drawn examples
	$(BIN)/python -m pytest -n 4 --hypothesis-profile=nightly -m "long or hypothesis" --ignore tests/docs

test-docs: $(READY) ## run every documented command, and the queries of the dashboard where there is a Prometheus (10 minutes)
	$(BIN)/python -m pytest -n 2 -m "long or not long" tests/docs tests/e2e/servers/test_prometheus.py

test-repeat: $(READY) ## run the test suite ten times, every other time next to busy processes (40 minutes)
	$(BIN)/python scripts/repeat_tests.py

test-portable: $(READY) ## run the client's tests and a load test as where there is no epoll and no kernel timestamp (1 minute)
	PROBE_PORTABLE=1 $(BIN)/python -m pytest -n 4 tests/client tests/e2e/test_without_linux.py

test-native: $(READY) ## run the client's tests once with the C extension and once without (4 minutes)
	$(BIN)/python hatch_build.py
	$(BIN)/python -m pytest -n 4 --hypothesis-profile=nightly tests/client
	PROBE_NATIVE=0 $(BIN)/python -m pytest -n 4 tests/client

native-sanitize: $(READY) ## run the C extension's tests with its memory and arithmetic checked (ASan, UBSan; 2 minutes)
	@PYTHON=$(BIN)/python sh scripts/native_sanitize.sh

test-swarm: $(READY) ## inject faults into real processes, networks and disks (needs root and iproute2; 10 minutes)
	$(BIN)/python -m pytest -n 2 --dist load -m swarm tests/faults

test-attacks: $(READY) ## attack real processes: strangers, dying networks, bad input (some tests need root and iproute2; 10 minutes)
	$(BIN)/python -m pytest -n 2 --dist load -m attacks tests/attacks

scale: $(READY) ## run 16 workers and 10,000 users on loopback; check counts, memory, CPU, messages (4 minutes)
	@$(BIN)/python -m scripts.swarm.scale

soak: $(READY) ## check that memory stays bounded under light load (35 minutes)
	@$(BIN)/python -m scripts.swarm.soak

MINUTES ?= 60
soak-hostile: $(READY) ## run under a hostile server and beside a stranger on the master's port (MINUTES=60)
	@$(BIN)/python -m scripts.hostile.soak --minutes $(MINUTES)

test-vllm: $(READY) ## load-test a real vLLM on the CPU, with a tiny model (first run downloads 1 GB)
	@$(BIN)/python scripts/real/vllm.py run --port 18200 --model slow --block-size 32 --num-gpu-blocks-override 33 \
	  --max-model-len 768 -- $(BIN)/probe run capacity --host http://127.0.0.1:18200 --levels 2,6 --hold 20s \
	  --input-tokens 64 --max-tokens 400 --ignore-eos --out reports/runs/vllm --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/vllm memory_wall && \
	$(BIN)/python scripts/real/vllm.py run --port 18230 --model tiny --max-model-len 1024 \
	  -- $(BIN)/python scripts/real/apis.py http://127.0.0.1:18230 reports/runs/vllm-apis responses messages && \
	$(BIN)/python scripts/real/vllm.py run --port 18240 --model thinker --max-model-len 1024 \
	  --reasoning-parser deepseek_r1 \
	  -- $(BIN)/python scripts/real/apis.py http://127.0.0.1:18240 reports/runs/vllm-reasoning --reasoning chat messages

test-vllm-batch: $(READY) ## load-test the same vLLM with --max-num-seqs 4; the diagnosis must name that limit
	@$(BIN)/python scripts/real/vllm.py run --port 18220 --model slow --max-num-seqs 4 --max-model-len 1024 \
	  -- $(BIN)/probe run capacity --host http://127.0.0.1:18220 --levels 2,4,8,12 --hold 15s \
	  --input-tokens 64 --max-tokens 100 --ignore-eos --out reports/runs/vllm-batch --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/vllm-batch batch_limit

VLLM_SWITCH := --port 18250 --model tiny --max-model-len 1024
compare-vllm: $(READY) ## compare the same vLLM with --max-num-seqs 4 and, after a restart, 16 (20 minutes)
	@$(BIN)/python scripts/real/vllm.py run $(VLLM_SWITCH) --max-num-seqs 4 -- $(BIN)/probe compare \
	  http://127.0.0.1:18250 --between "$(BIN)/python scripts/real/vllm.py stop --port 18250 && \
	  $(BIN)/python scripts/real/vllm.py start $(VLLM_SWITCH) --max-num-seqs 16" \
	  --levels 4,6,8,12,16 --hold 20s --input-tokens 64 --max-tokens 200 --ignore-eos; \
	code=$$?; [ $$code -eq 77 ] || exit $$code

test-llamacpp: $(READY) ## load-test a real llama.cpp server with one slot (first run builds it, 5 to 10 minutes)
	@$(BIN)/python scripts/real/llamacpp.py run --port 18210 --slots 1 -- $(BIN)/probe run capacity \
	  --host http://127.0.0.1:18210 --levels 1,4 --hold 10s --input-tokens 64 --max-tokens 150 --ignore-eos \
	  --out reports/runs/llamacpp --force; \
	code=$$?; [ $$code -eq 77 ] && exit 0; [ $$code -eq 0 ] || exit $$code; \
	$(BIN)/python scripts/real/bounded_by.py reports/runs/llamacpp serialised

test-gateways: $(READY) ## measure what nginx, haproxy, Caddy, LiteLLM and GuideLLM do to streams; writes docs/gateways.md (8 minutes)
	@$(BIN)/python -m scripts.gateways; code=$$?; [ $$code -eq 77 ] || exit $$code

test-compose: ## run load tests with docker-compose.yml and check their reports (needs Docker; 3 minutes)
	@$(PYTHON) -m scripts.containers.compose; code=$$?; [ $$code -eq 77 ] || exit $$code

image-check: wheel ## build both images and start them in every role (needs Docker or Podman; 10 minutes)
	@$(BIN)/python -m scripts.containers.image_check; code=$$?; [ $$code -eq 77 ] || exit $$code

test-kubernetes: $(READY) ## validate docs/kubernetes/load-test.yaml against the Locust operator's CRD (downloaded once)
	@$(BIN)/python -m scripts.containers.kubernetes; code=$$?; [ $$code -eq 77 ] || exit $$code

seeds: $(READY) ## all figures of five published texts beside simulated servers; writes reports/seeds (2 hours, resumable)
	@$(BIN)/python -m scripts.seeds
	@$(BIN)/python -m scripts.seed_comparisons
	@$(BIN)/python -m scripts.coding_report
	@$(BIN)/python -m scripts.seed_documents

seeds-card: $(READY) ## only the first text: published RTX 3060 measurements on the simulated server (11 minutes)
	@$(BIN)/python -m scripts.seeds

seeds-compare: $(READY) ## what four published texts compare, compared again on simulated servers (40 minutes, resumable)
	@$(BIN)/python -m scripts.seed_comparisons

coding-report: $(READY) ## is a 16 GB card a coding assistant for a team? writes reports/coding (45 minutes, resumable)
	@$(BIN)/python -m scripts.coding_report

bench-page: $(READY) ## measure the report of a large run: time, memory, page size (1 minute)
	@$(BIN)/python -m scripts.page

report-scale: $(READY) ## the same, and a gauntlet of ten million requests (4 GB of disk, 6 minutes)
	@$(BIN)/python -m scripts.page --long

sim-load: $(READY) ## measure how punctual the simulated server is with 1,000 streams (20 seconds)
	@$(BIN)/python -m scripts.sim_load

study-diagnosis: $(READY) ## check the diagnosis on simulated servers with a known bottleneck, 12 seeds (3 minutes)
	@$(BIN)/python -m scripts.study.diagnosis.diagnoses

test-doctor: $(READY) ## what probe doctor says of every simulated personality (3 minutes)
	@$(BIN)/python -m scripts.doctor_truth

looks: $(READY) ## what doctor, warmup and scout say of every simulated server; writes reports/looks/simulated.md (5 minutes)
	@$(BIN)/python -m scripts.looks

gauntlet: $(READY) ## six simulated servers under one open stream, with the leaderboard beside; writes reports/gauntlet (14 minutes)
	@$(BIN)/python -m scripts.gauntlet

gauntlet-soak: $(READY) ## the gauntlet for two hours with four workers: counts, memory and cost; writes reports/gauntlet/soak.md
	@$(BIN)/python -m scripts.gauntlet.soak

study-scout: $(READY) ## what probe scout says of invented honest servers, and of cheats (20 seconds)
	@$(BIN)/python -m scripts.scout --servers 2000

study-tap: $(READY) ## record users of known workloads, and compare the workloads made of that (20 seeds, 10 minutes)
	@$(BIN)/python -m scripts.tap.study

tap-two-prompts: $(READY) ## what a response cache brings where traffic repeats; writes reports/tap/two-prompts.md (3 minutes)
	@$(BIN)/python -m scripts.tap.two_prompts

tap-day: $(READY) ## a day of traffic through probe tap: is its memory flat? writes reports/tap/day.md (15 minutes)
	@$(BIN)/python -m scripts.tap.day

tap-real: $(READY) ## probe tap before a real vLLM, and behind nginx; writes reports/tap/real.md (3 minutes)
	@$(BIN)/python scripts/real/vllm.py run --port 18260 --model tiny --max-model-len 1024 \
	  -- $(BIN)/python -m scripts.tap.real http://127.0.0.1:18260; code=$$?; [ $$code -eq 77 ] || exit $$code

tap-latency: $(READY) ## measure what probe tap adds to a reply; writes reports/tap/latency.md (2 minutes)
	@$(BIN)/python -m scripts.tap.latency

study: $(READY) ## how often the estimate is right, on servers of known truth (virtual time; hours, resumable)
	@$(BIN)/python -m scripts.study

study-compare: $(READY) ## how often probe compare is right, on pairs of known difference (virtual time; 1 hour, resumable)
	@$(BIN)/python -m scripts.comparisons

bench: $(READY) ## measure timing accuracy and CPU cost against other tools; writes benchmarks/RESULTS.md (1.5 hours)
	@$(BIN)/python -m benchmarks --install-peers; code=$$?; [ $$code -eq 77 ] || exit $$code

examples: $(READY) ## re-render the reports of the committed example runs
	$(BIN)/probe report reports/examples/vllm
	$(BIN)/probe report reports/examples/llamacpp

clean: ## remove .venv, caches and build output
	rm -f $(NATIVE)/*.so
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
