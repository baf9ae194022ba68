# Everything a checkout needs comes from here; `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := protocol enclave gateway node governance simulation
# torch has its own requirement: the CPU build, from a local wheel where one lies, else from this index.
TORCH := torch==2.13.0
TORCH_INDEX ?=
EDITABLE := $(foreach room,$(ROOMS),-e ./$(room))

.DEFAULT_GOAL := help
.PHONY: help sandbox demo test check bench bench-learning oracles chaos fuzz docs lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

sandbox:
	@command -v bwrap >/dev/null || { \
	  echo "installing bubblewrap, the enclave's sandbox"; \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq bubblewrap >/dev/null; \
	} || echo "bubblewrap is not here and could not be installed: the enclave will say that it is not isolated"

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/run: $(VENV)/torch $(ROOMS:%=%/pyproject.toml) simulation/requirements.lock
	$(BIN)/pip install --quiet --require-hashes -r requirements-build.lock -r simulation/requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.lock
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

demo: sandbox $(VENV)/run ## a federation of six hospitals on real data, into build/demo
	$(BIN)/crimson demo --out build/demo

# Three workers for two cores: many tests wait for processes. The order is that of tests/conftest.py.
test: export OMP_NUM_THREADS = 1
test: sandbox $(VENV)/dev ## every test but those that take minutes
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

check: $(VENV)/dev ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(foreach room,$(ROOMS),$(room)/crimson_$(room))
	$(BIN)/lint-imports
	@echo "check: lint, format, types and import contracts hold"

bench: sandbox $(VENV)/dev ## performance goals, as ratios in one run, into build/bench/report.json
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m pytest -m long tests/unit/test_benchmarks.py

bench-learning: $(VENV)/dev ## learning, privacy and robustness goals, into build/bench/learning.json
	$(BIN)/python -m benchmarks.learning.report

oracles: $(VENV)/torch ## robust rules and clipped sums beside those of other libraries, in an environment of its own
	$(PYTHON) -m venv .venv-oracles
	.venv-oracles/bin/pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	.venv-oracles/bin/pip install --quiet --require-hashes -r requirements-build.lock -r enclave/requirements.lock
	.venv-oracles/bin/pip install --quiet --no-deps --no-build-isolation -e ./protocol -e ./enclave -e ./node
	.venv-oracles/bin/pip install --quiet --no-deps byzfl==0.0.11 opacus==1.6.0 opt-einsum==3.4.0
	.venv-oracles/bin/python -m benchmarks.oracles.byzfl_rules
	.venv-oracles/bin/python -m benchmarks.oracles.opacus_sums

chaos: sandbox $(VENV)/dev ## kill gateway, enclave and nodes at random moments, and the enclave at every single write
	CRIMSON_KILLS=10 $(BIN)/python -m pytest -s -m long tests/end_to_end
	CRIMSON_KILLS=10 CRIMSON_STRIDE=1 $(BIN)/python -m pytest tests/enclave

fuzz: sandbox $(VENV)/dev ## long random runs of parsers and rounds
	CRIMSON_EXAMPLES=20000 $(BIN)/python -m pytest tests/fuzz tests/attacks/test_any_dropouts.py

docs: $(VENV)/dev ## regenerate the generated parts of docs/
	$(BIN)/python -m docs.generate

lock: $(VENV)/dev ## resolve the hashed lock of every deployable anew
	$(BIN)/python -m locks

clean: ## remove what was built
	rm -rf $(VENV) .venv-oracles build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
