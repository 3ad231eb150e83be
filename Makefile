# Everything a developer or CI calls. Each target fetches what it needs into the target folder and
# installs nothing on the host.

# CI keeps one target folder between runs; a cold start does as well.
ifdef CI
ifndef CARGO_TARGET_DIR
export CARGO_TARGET_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/posthouse-ci
endif
endif
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CARGO ?= cargo

.PHONY: help build worker demo source-lab test test-all test-legacy fuzz bench release fmt lint peers deny clean

help:
	@echo "make demo      two real mail servers with Posthouse before them, until Ctrl-C (CHECK=1: check and exit)"
	@echo "make source-lab  real user databases for the configurations in examples/sources (CHECK=1: check and exit)"
	@echo "make worker    the program that asks databases behind ODBC, built against unpacked unixODBC"
	@echo "make test      format, lints, unit, dialogue, property and end-to-end tests"
	@echo "make test-all  make test, then what is long, and the licences of all dependencies"
	@echo "make test-legacy  back ends that know only old TLS, with a program that can speak it (OpenSSL is built along)"
	@echo "make fuzz      search for streams that break the protocols (FUZZ_SECONDS for each kind: 60)"
	@echo "make bench     cost per login, byte and idle connection beside HAProxy and nginx (QUICK=1: a short run)"
	@echo "make release   the program, optimised: target/release/posthouse"
	@echo "make fmt       format all code"
	@echo "make lint      clippy over everything"

# One build of the whole workspace, so that demo and tests share one feature set.
build:
	$(CARGO) build --workspace --locked

# The worker, linked to unpacked unixODBC. With the features of the whole workspace, so that it alone is built, and
# nothing is built anew afterwards. Of the two variables one is for libodbc itself, the other for what that needs.
WITH_ODBC := --workspace --features worker/odbc --locked
ODBC := $(TARGET)/peers/odbc/usr/lib/$(shell uname -m)-linux-gnu

worker: build
	$(TARGET)/debug/fetch-peers odbc
	LIBRARY_PATH=$(ODBC) LD_LIBRARY_PATH=$(ODBC) $(CARGO) build $(WITH_ODBC)

# The real servers and mail programs of the tests, unpacked into the target folder.
PEERS := dovecot cyrus slapd postgresql mariadb odbc tinycdb isync mutt fetchmail offlineimap python-imapclient
LONG_PEERS := perl-imapclient imapflow
peers: build
	$(TARGET)/debug/fetch-peers $(PEERS)

demo: build
	CHECK=$(CHECK) $(TARGET)/debug/demo

source-lab: worker
	CHECK=$(CHECK) $(TARGET)/debug/source-lab

test: worker
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WITH_ODBC) --all-targets -- -D warnings
	$(TARGET)/debug/fetch-peers $(PEERS)
	$(CARGO) test --workspace --locked

test-all: test deny fuzz
	$(TARGET)/debug/fetch-peers $(LONG_PEERS)
	PROPTEST_CASES=2000 $(CARGO) test --workspace --locked
	$(CARGO) test -p e2e --test long --locked
	$(MAKE) test-legacy

# Old TLS towards back ends: the program with OpenSSL, which is built along once. Afterwards the program
# without it is put back.
LEGACY := --workspace --features posthouse/legacy-tls --locked

test-legacy:
	$(CARGO) clippy $(LEGACY) --all-targets -- -D warnings
	$(CARGO) build $(LEGACY)
	$(CARGO) test $(LEGACY) -- legacy
	$(CARGO) test -p e2e --test legacy --locked
	$(CARGO) build --workspace --locked

# One kind of stream after the other. What is found lies in the target folder, as does what grows there;
# what is worth keeping goes into crates/fuzz/corpus by hand. The sanitizer is there in nightly compilers
# only, unless the stable one is told otherwise.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(notdir $(wildcard crates/fuzz/corpus/*))
CARGO_FUZZ := RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(TARGET)/fuzz $(TARGET)/tools/bin/cargo-fuzz

fuzz:
	@test -x $(TARGET)/tools/bin/cargo-fuzz || $(CARGO) install --locked --root $(TARGET)/tools cargo-fuzz
	@mkdir -p $(TARGET)/fuzz/artifacts $(FUZZ_TARGETS:%=$(TARGET)/fuzz/corpus/%)
	@$(foreach name,$(FUZZ_TARGETS),$(CARGO_FUZZ) run --fuzz-dir fuzz $(name) \
		$(TARGET)/fuzz/corpus/$(name) crates/fuzz/corpus/$(name) -- -max_total_time=$(FUZZ_SECONDS) -verbosity=0 \
		-artifact_prefix=$(TARGET)/fuzz/artifacts/$(name)- &&) true

bench:
	$(CARGO) build --workspace --release --locked
	$(TARGET)/release/bench $(if $(QUICK),--quick)

release:
	$(CARGO) build --release --locked -p posthouse
	@ls -l $(TARGET)/release/posthouse

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WITH_ODBC) --all-targets -- -D warnings

# Advisories need the network at large; bans, licences and sources do not.
deny:
	@test -x $(TARGET)/tools/bin/cargo-deny || $(CARGO) install --locked --root $(TARGET)/tools cargo-deny
	$(TARGET)/tools/bin/cargo-deny --locked check bans licenses sources

clean:
	$(CARGO) clean
