# Everything a person needs: `make run` to use Martlet, `make test` to check a change. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# SwiftPM's folder stays outside the clone, so that another clone builds quickly.
SCRATCH ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/martlet/build
# One set of flags everywhere: a changed flag rebuilds everything.
SWIFT_FLAGS = --scratch-path $(SCRATCH) --explicit-target-dependency-import-check error
TEST_FLAGS = $(SWIFT_FLAGS) --disable-xctest
# Swift's own libraries are linked into released programs: they run on hosts without Swift, and calls into it cost less.
RELEASE_FLAGS = $(SWIFT_FLAGS) -c release --static-swift-stdlib
# The suites that `make test` runs: all when empty.
SUITES ?=

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: tools
tools: ## Fetch the pinned tools into .tools/.
	scripts/fetch-tools run

# Where the examples and the state of `make run` are.
PORT ?= 8080
EXAMPLE ?= examples/guestbook

.PHONY: build
build: ## Build the program in release mode into bin/martlet.
	scripts/debian-packages run
	swift build $(RELEASE_FLAGS) --product martlet
	mkdir -p bin
	cp -f "$$(swift build $(RELEASE_FLAGS) --show-bin-path)"/martlet{,-confine} bin/

.PHONY: run
run: tools build ## Start a host with an example app on it and print its address.
	bin/martlet up --port $(PORT) --deploy $(EXAMPLE)

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

.PHONY: cli-reference
cli-reference: ## Write the commands of the program into docs/cli.md.
	swift build $(SWIFT_FLAGS) --product martlet
	scripts/cli-reference "$$(swift build $(SWIFT_FLAGS) --show-bin-path)/martlet"

.PHONY: lint
lint: ## Check the format of the Swift code.
	scripts/lint

.PHONY: format
format: ## Rewrite the Swift code in the project's format.
	scripts/lint --fix

.PHONY: generate
generate: ## Make Sources/TemporalAPI anew from Temporal's message descriptors.
	scripts/generate-temporal-api

.PHONY: clean
clean: ## Remove the build folder and the tools.
	rm -rf $(SCRATCH) $(SCRATCH)-ingress $(SCRATCH)-thread $(SCRATCH)-address .tools bin

# The ingress: benchmarks and the slower checks. A short run, without judging what it prints:
# make bench-proxy PROXY_MODE=debug PROXY_BENCH="small --rounds 1 --seconds 1" PROXY_MEASURE=syscalls
PROXY_MODE ?= release
PROXY_BENCH ?=
PROXY_MEASURE ?=
PROXY_FLAGS = $(if $(filter release,$(PROXY_MODE)),$(RELEASE_FLAGS),$(SWIFT_FLAGS) -c $(PROXY_MODE))
PROXY_BUILD = $(PROXY_FLAGS) --product martlet-proxy
PROXY_TESTS = MARTLET_PART=ingress SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4 swift test --disable-xctest
PROXY_PROGRAM = MARTLET_PROXY="$$(swift build $(PROXY_FLAGS) --show-bin-path)/martlet-proxy"

.PHONY: bench-tools
bench-tools: tools
	scripts/debian-packages bench
	scripts/fetch-tools bench

.PHONY: bench-proxy
bench-proxy: bench-tools ## Compare the ingress with nginx, haproxy, Caddy and Envoy.
	swift build $(PROXY_BUILD)
	# Both, whatever the first finds: each ends with 1 when a goal is missed.
	missed=0; export $(PROXY_PROGRAM); python3 Benchmarks/proxy/bench.py $(PROXY_BENCH) || missed=1; \
	python3 Benchmarks/proxy/measure.py $(PROXY_MEASURE) || missed=1; exit $$missed

.PHONY: check-proxy
check-proxy: test-tools ## Run the ingress's smuggling corpus, strict peers, long fuzzing and sanitizers.
	scripts/debian-packages bench
	swift build $(PROXY_BUILD)
	$(PROXY_PROGRAM) python3 Benchmarks/proxy/smuggling.py
	$(PROXY_PROGRAM) .tools/test/bin/python Benchmarks/proxy/peers.py
	# Builds of their own: of the ingress alone, TLS included. Each ends with a line that counts its tests.
	MARTLET_FUZZ=500000 MARTLET_FUZZ_SEED=$$RANDOM $(PROXY_TESTS) --scratch-path $(SCRATCH)-ingress --filter 'ProxyTests.*(RequestHead|ChunkScanner)'
	TSAN_OPTIONS=suppressions=$(CURDIR)/Benchmarks/proxy/thread-sanitizer.txt $(PROXY_TESTS) --scratch-path $(SCRATCH)-thread --sanitize=thread
	LSAN_OPTIONS=suppressions=$(CURDIR)/Benchmarks/proxy/leak-sanitizer.txt $(PROXY_TESTS) --scratch-path $(SCRATCH)-address --sanitize=address

# The sandbox: what a neighbour notices of apps that go beyond their limits.
.PHONY: bench-sandbox
bench-sandbox: tools ## Measure what isolation costs, and a neighbour while apps go beyond their limits. About 6 minutes.
	swift build $(RELEASE_FLAGS) --product martlet-host-benchmark
	for run in isolation bombs; do "$$(swift build $(RELEASE_FLAGS) --show-bin-path)/martlet-host-benchmark" $$run; done

# The host: each figure is printed beside its baseline. About ten minutes in all; HOST_BENCH=wake:40 for some.
HOST_BENCH ?= wake:40 large:15 storm:200 many:10000 deploys:1000
HOST_BUILD = $(RELEASE_FLAGS) --product martlet-host-benchmark

.PHONY: bench-host
bench-host: bench-tools ## Measure wakes, start storms, many apps and deployments of a host.
	swift build $(HOST_BUILD)
	for run in $(HOST_BENCH); do echo "== $$run"; $$(swift build $(HOST_BUILD) --show-bin-path)/martlet-host-benchmark $${run/:/ }; done

# The cluster: moves beside the same without a warm copy and without holding, then a whole cluster of processes.
CLUSTER_MOVES ?= 100
CLUSTER_BUILD = $(RELEASE_FLAGS)
CLUSTER_BENCH = "$$(swift build $(CLUSTER_BUILD) --show-bin-path)/martlet-cluster-benchmark"

.PHONY: bench-cluster
bench-cluster: tools ## Measure moves, drains and failovers under load. About half an hour in all.
	swift build $(CLUSTER_BUILD) --product martlet
	swift build $(CLUSTER_BUILD) --product martlet-cluster-benchmark
	$(CLUSTER_BENCH) moves --moves $(CLUSTER_MOVES)
	$(CLUSTER_BENCH) moves --moves 10 --cold
	$(CLUSTER_BENCH) moves --moves 10 --no-hold
	$(CLUSTER_BENCH) cluster-moves --moves $(CLUSTER_MOVES)
	$(CLUSTER_BENCH) drain
	$(CLUSTER_BENCH) failover

# Databases in an object store, on a whole host with SeaweedFS. About five minutes; waking a thousand apps takes most of it.
.PHONY: bench-databases
bench-databases: tools ## Measure gated answers, wakes with a replica and apps asleep, beside baselines.
	swift build $(HOST_BUILD)
	for run in gated database-wake asleep; do echo "== $$run"; $$(swift build $(HOST_BUILD) --show-bin-path)/martlet-host-benchmark $$run; done

# The Temporal library's worker beside the official Python SDK's: TEMPORAL_BENCH="throughput backlog" for some of it.
TEMPORAL_BENCH ?=

.PHONY: bench-temporal
bench-temporal: test-tools ## Compare Temporal workers with those of the official Python SDK.
	swift build $(RELEASE_FLAGS) --product temporal-bench
	.tools/test/bin/python Benchmarks/temporal/bench.py "$$(swift build $(RELEASE_FLAGS) --show-bin-path)/temporal-bench" .tools/run/bin/temporal $(TEMPORAL_BENCH)

.PHONY: bench
bench: bench-host bench-databases bench-proxy bench-temporal bench-cluster ## Run all benchmarks but the sandbox's. An hour and more.
