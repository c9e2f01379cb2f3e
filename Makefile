# The commands a person types. `make` alone lists them.
#
# Variables:  ARGS='--port 7000 ...'   passed on by run, demo, bench, bench-crash-cost, bench-guard, bars and fuzz

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
ARGS ?=

# Loads of thousands of connections: as many descriptors as the system lets a process have.
LIMITS := ulimit -n "$$(ulimit -Hn)";

.PHONY: help setup build run test lint fmt demo bench bench-crash-cost bench-guard bars stepping fuzz miri build-pair deb

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what building and testing need (Debian 12; can run twice)
	@scripts/setup.sh

build: ## build the server (release): target/release/hotredis
	cargo build --release --package hotredis

run: setup build ## set up, build and serve on 6379 (ARGS='--port 7000 ...')
	$(LIMITS) exec target/release/hotredis serve $(ARGS)

lint: ## rustfmt, clippy with every warning denied, undocumented unsafe denied
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings -D clippy::undocumented_unsafe_blocks

fmt: ## format the sources
	cargo fmt --all

test: setup lint ## set up, lint, build and run every test
	@scripts/build-pair.sh
	cargo build --quiet --workspace --bins
	$(LIMITS) if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --workspace; \
	else \
	    cargo test --workspace --no-fail-fast -- --test-threads=2; \
	fi

build-pair: ## two release builds that differ in HOTREDIS_BUILD only: target/builds/release/{a,b}/hotredis
	@scripts/build-pair.sh --release

demo: setup build-pair ## many clients at work, several upgrades under them, and what came of it
	cargo build --quiet --release --package hotredis-tests --bin hotredis-demo
	$(LIMITS) target/release/hotredis-demo $(ARGS)

bars: setup build-pair ## the bars: gap, freeze and latency of upgrades (ARGS='--only scale'), silence after kills (ARGS='--only crash')
	cargo build --quiet --release --package hotredis-tests --bin hotredis-bars
	$(LIMITS) target/release/hotredis-bars $(ARGS)

bench: setup build ## CPU time, latency, memory by type and stalls beside redis-server: tables, plots, target/bench/*.json
	cargo build --quiet --release --package hotredis-tests --bin hotredis-floor --bin hotredis-load
	$(LIMITS) python3 scripts/bench.py $(ARGS)

bench-crash-cost: ## what exactly-once costs, in instructions per request: the same work with and without it
	@scripts/setup.sh valgrind
	@scripts/crash-cost.sh $(ARGS)

bench-guard: build ## instructions per GET, SET and upgrade, held to what they were (ARGS=--update keeps the new figures)
	@scripts/setup.sh valgrind
	@scripts/instructions.py guard $(ARGS)

stepping: setup build ## kill the release build between any two instructions of commands of every kind (an hour or so)
	$(LIMITS) HOTREDIS_STEPPING=all cargo test --release --package hotredis-tests --test stepping -- --nocapture --test-threads=1

fuzz: setup ## drive hotredis and redis-server with the same random commands until stopped
	$(LIMITS) scripts/fuzz.sh $(ARGS)

miri: ## run the arena's tests under Miri (needs a nightly toolchain with the miri component)
	@scripts/miri.sh $(ARGS)

deb: setup build ## the Debian package of the release build: target/debian/hotredis_VERSION_ARCH.deb
	@packaging/build-deb.sh $(ARGS)
