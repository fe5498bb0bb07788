# What can be done here; `make help` lists it.

BINARY := redis-cluster-proxy
PORT ?= 8088
SEEDS ?= 500
SECONDS ?= 60
COMMANDS ?= 20000
MINUTES ?= 20

# Integration tests that have a stage of their own in `make test`; every other one runs with the unit tests.
STAGED := simulation differential live live_faults live_process clients faults soak
OTHERS := $(filter-out $(STAGED),$(patsubst tests/%.rs,%,$(wildcard tests/*.rs)) \
            $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))

FUZZ_TARGETS := $(notdir $(basename $(wildcard tools/fuzz/targets/*.rs)))

# Servers that the live suite runs on besides the installed redis-server.
SERVERS := target/venv/servers/redis-8.2 target/venv/servers/valkey-9.1

# How `make build-min` links: without tables to unwind stacks by, and, where the C library can read that (glibc 2.36),
# with what is relocated at the start as bits, not as 24 bytes each.
MIN_LINK := -C link-arg=-Wl,-T,$(CURDIR)/tools/no-unwind-tables.ld \
            $(shell getconf GNU_LIBC_VERSION 2>/dev/null | awk '{ split($$2, v, "."); if (v[1] > 2 || v[2] >= 36) \
                print "-C link-arg=-Wl,-z,pack-relative-relocs" }')

# Thousands of sockets on both sides of the proxy are open at once in some tests.
RAISE_LIMITS := ulimit -n $$(ulimit -Hn);

.PHONY: help build build-min demo measure foreign-suite bench fuzz faults soak install-tools longest clean \
        test check-format check-lints test-units test-cost test-differential test-live test-engines test-clients sim

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

build: ## the release binary, as bin/redis-cluster-proxy
	cargo build --release
	@mkdir -p bin
	install -m 755 target/release/$(BINARY) bin/$(BINARY)

build-min: ## a small release binary without optional features and stack traces
	cargo rustc --profile min --no-default-features --bin $(BINARY) -- $(MIN_LINK)
	@mkdir -p bin
	install -m 755 target/min/$(BINARY) bin/$(BINARY)

demo: ## a cluster of its own with the proxy before it (PORT=8088)
	@PORT=$(PORT) tools/demo.sh

test: ## everything that has to hold, in order, up to the first failure
	@$(MAKE) --no-print-directory install-tools
	@$(MAKE) --no-print-directory check-format
	@$(MAKE) --no-print-directory check-lints
	@$(MAKE) --no-print-directory test-units
	@$(MAKE) --no-print-directory sim
	@$(MAKE) --no-print-directory test-differential
	@$(MAKE) --no-print-directory test-live
	@$(MAKE) --no-print-directory test-engines
	@$(MAKE) --no-print-directory test-clients
	@$(MAKE) --no-print-directory test-cost
	@echo "== make test: all stages passed"

install-tools: ## what `make test` needs, where it is missing
	@echo "== test tools"
	tools/install-test-tools.sh

check-format: ## rustfmt
	@echo "== format"
	cargo fmt --check

check-lints: ## clippy, warnings are errors, with and without optional features
	@echo "== lints"
	cargo clippy --all-targets --all-features -- -D warnings
	cargo clippy --all-targets --no-default-features -- -D warnings

test-units: ## unit, property, tidy and doc tests
	@echo "== unit, property and doc tests"
	cargo test --lib --bins $(addprefix --test ,$(OTHERS))
	cargo test --doc

sim: ## the seeded simulation (SEEDS=500)
	@echo "== simulation, $(SEEDS) seeds"
	SIM_SEEDS=$(SEEDS) cargo test --test simulation

test-differential: ## random commands to the proxy and to a single server (COMMANDS=20000)
	@echo "== differential test, $(COMMANDS) commands"
	DIFF_COMMANDS=$(COMMANDS) cargo test --test differential

test-live: ## a real cluster behind the real binary
	@echo "== live cluster"
	$(RAISE_LIMITS) cargo test --test live --test live_faults --test live_process

faults: ## what clients notice of every fault, as figures; takes some minutes
	@echo "== faults"
	@$(RAISE_LIMITS) bash -o pipefail -c \
	    'cargo test --test faults --test live_faults -- --nocapture --test-threads 1 2>&1 | tee target/faults.log'
	@echo "== figures"
	@sed -n 's/^.*\(\[[A-Za-z0-9][A-Za-z0-9, ]*\] .*\)/\1/p; /^    [0-9]* x /p; /^    [0-9]* acknowledged/p' target/faults.log

test-engines: ## the command table, the live suite and random commands on other servers
	@$(RAISE_LIMITS) for server in $(SERVERS); do \
	    echo "== command table and live cluster of $$server"; \
	    COMMAND_TABLE_SERVER=$(CURDIR)/$$server cargo test --test command_table || exit 1; \
	    REDIS_SERVER=$(CURDIR)/$$server cargo test --test live || exit 1; \
	    REDIS_SERVER=$(CURDIR)/$$server DIFF_COMMANDS=$(COMMANDS) cargo test --test differential || exit 1; \
	done

test-clients: ## real client libraries, also during a reshard and a failover, and applications
	@echo "== client libraries and applications"
	$(RAISE_LIMITS) cargo test --test clients -- --nocapture

test-cost: ## instructions per request against benches/instructions.txt (tools/instructions.py --renew writes it)
	@echo "== instructions per request"
	tools/instructions.py --check

measure: build ## CPU per request beside a TCP relay; needs haproxy
	tools/measure.py

foreign-suite: build ## the server's own test suite, directly and through the proxy (SUITE=checkout of Redis or Valkey)
	@[ -n "$(SUITE)" ] || { echo "error: make foreign-suite SUITE=path [UNITS='unit/multi ...'] [FLAGS=--cluster-mode]" >&2; exit 1; }
	tools/foreign-suite.py --suite "$(SUITE)" $(FLAGS) $(UNITS)

bench: ## micro benchmarks
	cargo bench

fuzz: ## each fuzz target under libFuzzer in turn (SECONDS=60 each); installs cargo-fuzz, needs a C++ compiler
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	    echo "== fuzz $$target, $(SECONDS) s"; \
	    mkdir -p tools/fuzz/corpus/$$target; \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tools/fuzz $$target tools/fuzz/corpus/$$target tools/fuzz/seeds/$$target \
	        -- -max_total_time=$(SECONDS) || exit 1; \
	done

soak: ## a mixed load with a fault every 20 seconds, memory and descriptors read (MINUTES=20)
	$(RAISE_LIMITS) SOAK_MINUTES=$(MINUTES) cargo test --test soak -- --nocapture

longest: ## the longest functions and files
	@tools/longest.sh

clean: ## removes what was built
	cargo clean
	rm -rf bin
