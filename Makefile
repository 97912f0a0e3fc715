# Everything a person does with this repository. `make` alone says what there is.
#
# Needed: a Rust toolchain, a C compiler, Python 3 with pip, Node 20 with npm. Nothing else of the machine is used, and
# the network only through cargo, pip and npm; where a Chromium is missing and this may install one, through apt too.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
VENV := .venv
PYTHON_MANIFESTS := $(sort $(wildcard clients/*/requirements.txt))
NODE_CLIENTS := $(sort $(patsubst %/package-lock.json,%,$(wildcard clients/*/package-lock.json)))
PROOFS := $(sort $(patsubst tests/proof/%.sh,proof-%,$(wildcard tests/proof/*.sh)))

# Limits: a step that takes longer is stuck, and says so.
TEST_MINUTES := 30
SMOKE_MINUTES := 3
PROOF_MINUTES := 120

# Tests that read public data sets look for them here, and say loudly when they skip.
ifeq ($(THROUGHLINE_SHARED_DATA),)
ifneq ($(wildcard ../shared/data/.),)
THROUGHLINE_SHARED_DATA := $(abspath ../shared/data)
endif
endif
export THROUGHLINE_SHARED_DATA

# What the scripts under tests/ are given: they never build anything themselves. A script that has nothing to run on
# says what it misses and ends with exit code 77.
smoke-scripts proof $(PROOFS): export THROUGHLINE_PYTHON := $(abspath $(VENV))/bin/python
smoke-scripts: export THROUGHLINE_BIN_FOLDER := $(TARGET)/debug
proof $(PROOFS): export THROUGHLINE_BIN_FOLDER := $(TARGET)/release
smoke-scripts: export THROUGHLINE_BIN := $(TARGET)/debug/throughline
proof $(PROOFS): export THROUGHLINE_BIN := $(TARGET)/release/throughline

say = printf '\n\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## Say what there is
	@printf 'usage: make TARGET [ARGS="..."]\n\n'
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nproofs: %s\n' "$(if $(PROOFS),$(PROOFS),none yet; a script tests/proof/NAME.sh becomes proof-NAME)"

# ---- set-up -------------------------------------------------------------------------------------------------------

.PHONY: setup setup-tools setup-rust setup-python setup-node setup-browser
setup: setup-tools setup-rust setup-python setup-node setup-browser ## Check the tools and install what the repository needs, inside it

setup-tools:
	@tools/check-tools

setup-rust: setup-tools
	@$(call say,crates: fetching what Cargo.lock names)
	@cargo fetch --locked

setup-python: setup-tools $(if $(PYTHON_MANIFESTS),$(VENV)/.stamp)

# pip of the machine installs into the environment, so that a Python without ensurepip (Debian's) is enough.
$(VENV)/.stamp: $(PYTHON_MANIFESTS)
	@$(call say,Python: installing $(PYTHON_MANIFESTS) into $(VENV))
	@python3 -m venv --clear --without-pip $(VENV)
	@python3 -m pip --python $(VENV)/bin/python --disable-pip-version-check install $(addprefix -r ,$(PYTHON_MANIFESTS))
	@touch $@

setup-node: setup-tools $(addsuffix /node_modules/.stamp,$(NODE_CLIENTS))

# Install scripts stay off: they may fetch from anywhere. Not `npm ci`: it insists on the optional packages of every
# platform, and not every registry mirror has them all. The lock file still decides every version.
clients/%/node_modules/.stamp: clients/%/package.json clients/%/package-lock.json
	@$(call say,Node: installing clients/$*)
	@cd clients/$* && npm install --no-save --ignore-scripts --no-audit --no-fund
	@touch $@

# Not something that the repository cannot do without: where it is missing its tests say that they were skipped.
setup-browser: setup-tools
	@tools/get-chromium

# ---- test ---------------------------------------------------------------------------------------------------------

.PHONY: test test-steps lint build tests doc-tests smoke smoke-scripts
test: ## Set up, then the deterministic tests and a smoke of everything (30 minutes at most, cold, on 2 cores)
	@timeout --foreground $(TEST_MINUTES)m $(MAKE) test-steps || { code=$$?; \
		if [ $$code = 124 ]; then echo "make test: stopped after $(TEST_MINUTES) minutes"; fi; exit $$code; }

# The order is cheapest first. Everything that runs is built in one profile: `test` inherits `dev` without changes, so
# binaries, unit tests, integration tests and doc tests share every dependency, compiled once and optimised
# (Cargo.toml: simulations run thousands of seeds). Release is for demo, proof and bench; it would double the wait.
test-steps:
	@$(MAKE) setup
	@$(MAKE) lint
	@$(MAKE) build
	@$(MAKE) tests
	@$(MAKE) doc-tests
	@$(MAKE) smoke-scripts
	@tools/test-summary $(TARGET)/test-logs

lint: ## Check formatting, and clippy without a warning
	@$(call say,cargo fmt)
	@cargo fmt --all --check
	@$(call say,cargo clippy)
	@cargo clippy --workspace --all-targets --locked -- -D warnings

# The whole workspace at once, so that features are the same for all, and nothing is compiled a second time.
build:
	@$(call say,building the binaries and holding the rules of the house)
	@cargo build --workspace --bins --example recorder --locked
	@$(TARGET)/debug/xtask all

tests:
	@$(call say,unit, property and simulation tests)
	@$(if $(THROUGHLINE_SHARED_DATA),echo "public data sets: $(THROUGHLINE_SHARED_DATA)",tools/shout-no-data)
	@rm -rf $(TARGET)/test-logs && mkdir -p $(TARGET)/test-logs
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked --no-tests=pass 2>&1 | tee $(TARGET)/test-logs/unit.log; \
	else \
		echo "cargo-nextest is not installed: using cargo test"; \
		cargo test --workspace --locked --lib --bins --tests --no-fail-fast 2>&1 | tee $(TARGET)/test-logs/unit.log; \
	fi

doc-tests:
	@$(call say,doc tests)
	@mkdir -p $(TARGET)/test-logs
	@cargo test --workspace --locked --doc 2>&1 | tee $(TARGET)/test-logs/doc.log

smoke: build smoke-scripts ## Build, and run only the smoke scripts of tests/smoke

smoke-scripts:
	@$(call say,smoke: the real binary through its real doors)
	@mkdir -p $(TARGET)/test-logs
	@$(TARGET)/debug/xtask scripts tests/smoke --limit-minutes $(SMOKE_MINUTES) 2>&1 | tee $(TARGET)/test-logs/smoke.log

# ---- proof, bench, demo -------------------------------------------------------------------------------------------

.PHONY: proof proof-build $(PROOFS) bench demo release clean
proof: proof-build ## Run every proof in full (hours), and end with a table
	@$(TARGET)/release/xtask scripts tests/proof --limit-minutes $(PROOF_MINUTES)

$(PROOFS): proof-%: proof-build
	@$(TARGET)/release/xtask scripts tests/proof --only $* --limit-minutes $(PROOF_MINUTES)

proof-build: setup
	@$(call say,release build of every binary)
	@cargo build --release --workspace --bins --locked

release: setup-tools setup-rust
	@$(call say,release build of throughline (some minutes when cold))
	@cargo build --release --locked -p server

bench: release ## Measure: make bench [NAME=pipeline] [ARGS="--json"]
	@$(TARGET)/release/throughline bench $(or $(NAME),pipeline) $(ARGS)

demo: release ## Set up, and run the main job: make demo [ARGS="--exit --json FILE"]
	@$(TARGET)/release/throughline demo $(ARGS)

clean: ## Remove what was built and installed here; data and logs of runs stay
	rm -rf $(TARGET) $(VENV) $(addsuffix /node_modules,$(NODE_CLIENTS))
