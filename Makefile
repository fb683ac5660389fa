# make demo   the pair loses its active host while calls flow, on this machine alone
# make test   everything that is checked
# make mutations  breaks the protocol rule by rule and demands that the simulator finds it
# make mutants    breaks it anywhere (cargo-mutants): FILES='src/protocol/lead.rs', or two hours for all
# make simulate   millions of runs of the simulator: SEEDS=5000000
# make test-guests  two virtual hosts with their own kernel and systemd: power cut, panic, pause
# make bench-ocf    a resource agent's monitor beside IPaddr2's
# make bench-pacemaker  the resource agents against PAF and IPaddr2 on a real cluster: RUNS=5
# make bench-probes  what it costs to ask a hundred services once a second
# make setup  installs what both need from the distribution; nothing of it is started

SHELL := /bin/bash
CARGO ?= cargo
DEMO ?=
SEEDS ?= 1000000
RUNS ?= 5
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: demo test mutations mutants simulate test-guests bench-ocf bench-pacemaker bench-probes setup

demo: setup
	$(CARGO) build --release --locked
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make demo: network namespaces need root, and there is no sudo: run it as root" >&2; exit 5; fi
	$(SUDO) ./target/release/duotone demo $(DEMO)

test: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	# Most tests wait for daemons and servers, not for a processor.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} $(CARGO) test --locked --no-fail-fast -- --show-output

mutations:
	./tests/mutations/run

mutants:
	./tests/mutations/anywhere

simulate:
	./tests/simulation/alone target/simulate
	cd target/simulate && SEEDS=$(SEEDS) $(CARGO) test --release --test simulation -- \
		--ignored --nocapture simulate::

test-guests: setup
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make test-guests: QEMU's network needs root, and there is no sudo: run it as root" >&2; exit 5; fi
	$(CARGO) build --release --locked
	$(SUDO) ./tests/guests/build
	$(SUDO) env "PATH=$$PATH" HOME="$$HOME" $(CARGO) test --locked --test guests -- \
		--ignored --nocapture --test-threads 1

bench-ocf: setup
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make bench-ocf: network namespaces need root, and there is no sudo: run it as root" >&2; exit 5; fi
	$(SUDO) env "PATH=$$PATH" HOME="$$HOME" $(CARGO) test --release --locked --test ocf -- \
		--ignored --nocapture bench

bench-pacemaker:
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make bench-pacemaker: network namespaces need root, and there is no sudo: run it as root" >&2; exit 5; fi
	./.ci/setup bench-pacemaker
	$(SUDO) env "PATH=$$PATH" HOME="$$HOME" RUNS=$(RUNS) $(CARGO) test --locked --test pacemaker -- \
		--ignored --nocapture --exact bench::bench

bench-probes:
	$(CARGO) test --release --locked --test probes -- --ignored --nocapture cost

setup:
	@./.ci/setup
