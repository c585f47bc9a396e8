# Everything a person needs: `make run` to use Martlet, `make test` to check a change. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# SwiftPM's folder stays outside the clone, so that another clone builds quickly.
SCRATCH ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/martlet/build
# One set of flags everywhere: a changed flag rebuilds everything.
SWIFT_FLAGS = --scratch-path $(SCRATCH) --explicit-target-dependency-import-check error
TEST_FLAGS = $(SWIFT_FLAGS) --disable-xctest
# The suites that `make test` runs: all when empty.
SUITES ?=

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: tools
tools: ## Fetch the pinned tools into .tools/.
	scripts/fetch-tools run

.PHONY: test-tools
test-tools: tools
	scripts/fetch-tools test

.PHONY: test
test: test-tools ## Run every test that a change needs; SUITES="ProxyTests runtime" for some.
	scripts/debian-packages test
	scripts/test $(SUITES) -- $(TEST_FLAGS)

.PHONY: soak
soak: test-tools ## Run the long tests too (more seeds, longer faults).
	scripts/debian-packages test
	MARTLET_SOAK=1 scripts/test $(SUITES) -- $(TEST_FLAGS)

.PHONY: test-runtime
test-runtime: ## Check and test the worker harness, the framework and the examples.
	scripts/test-runtime

.PHONY: lint
lint: ## Check the format of the Swift code.
	scripts/lint

.PHONY: format
format: ## Rewrite the Swift code in the project's format.
	scripts/lint --fix

.PHONY: generate
generate: test-tools ## Make Sources/TemporalAPI anew from Temporal's message descriptors.
	scripts/generate-temporal-api

.PHONY: clean
clean: ## Remove the build folder and the tools.
	rm -rf $(SCRATCH) .tools bin
