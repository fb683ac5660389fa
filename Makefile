# make demo   the pair loses its active host while calls flow, on this machine alone
# make test   everything that is checked
# make mutations  breaks the protocol rule by rule and demands that the simulator finds it
# make test-guests  two virtual hosts with their own kernel and systemd: power cut, panic, pause
# make setup  installs what both need from the distribution; nothing of it is started

SHELL := /bin/bash
CARGO ?= cargo
DEMO ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: demo test mutations test-guests setup

demo: setup
	$(CARGO) build --release --locked
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make demo: network namespaces need root, and there is no sudo: run it as root" >&2; exit 5; fi
	$(SUDO) ./target/release/duotone demo $(DEMO)

test: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --no-fail-fast -- --show-output

mutations:
	./tests/mutations/run

test-guests: setup
	@if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
		echo "make test-guests: QEMU's network needs root, and there is no sudo: run it as root" >&2; exit 5; fi
	$(CARGO) build --release --locked
	$(SUDO) ./tests/guests/build
	$(SUDO) env "PATH=$$PATH" HOME="$$HOME" $(CARGO) test --locked --test guests -- \
		--ignored --nocapture --test-threads 1

setup:
	@./.ci/setup
