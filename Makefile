# Everything a person or CI does with this checkout. `make help` lists it.

STAGE := target/stage
DEMO := demo
DEMO_FILE := $(DEMO)/library/Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv
# Evaluated in the recipe: the server is looked for, or fetched, when it is needed.
WITH_PYTHON := METAFLEET_TEST_PYTHON="$$(deploy/tools/python-venv.sh)" && export METAFLEET_TEST_PYTHON &&
WITH_OPENAPI := METAFLEET_TEST_OPENAPI="$$(deploy/tools/schemathesis.sh)" && export METAFLEET_TEST_OPENAPI &&
WITH_HTTP := METAFLEET_TEST_HTTP="$$(deploy/tools/http-plugins.sh)" && export METAFLEET_TEST_HTTP && PATH="$$METAFLEET_TEST_HTTP/bin:$$PATH" && export PATH &&
WITH_LANGUAGES := PATH="$$(deploy/tools/go.sh):$$(deploy/tools/node.sh):$$PATH" && export PATH &&
WITH_CLI := NATS_CLI="$$(deploy/tools/nats-cli.sh)" && export NATS_CLI &&
WITH_NATS := NATS_SERVER_BIN="$$(deploy/tools/nats-server.sh)" && export NATS_SERVER_BIN &&
# What make chaos-full runs; everything when it is empty.
CHAOS :=
METAFLEET := $(STAGE)/bin/metafleet --data-dir $(DEMO)/data

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help needs run-tools tools build shim sdks other-plugins images publish library demo clean-demo docker-tools test schemathesis fuzz test-docker lint fmt-check clippy doc deny bench chaos chaos-full soak planted simulate overhead throughput scaffolds

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# Says all that is missing at once, not one thing a run.
needs:
	@missing=; \
	command -v cargo >/dev/null || missing="$$missing\n  cargo    Rust with rustup: see rustup.rs"; \
	command -v cc >/dev/null || missing="$$missing\n  cc       a C compiler; Debian or Ubuntu: apt-get install build-essential"; \
	command -v python3 >/dev/null || missing="$$missing\n  python3  Python 3.10 or newer; Debian or Ubuntu: apt-get install python3 python3-pip"; \
	if [ -n "$$missing" ]; then printf "error: missing on this machine:$$missing\n" >&2; exit 1; fi

run-tools: needs ## get what running needs: nats-server and ffmpeg
	@deploy/tools/nats-server.sh >/dev/null
	@deploy/tools/ffmpeg.sh

tools: run-tools ## get what testing needs: the same, Python with nats-py, schemathesis, Node, Go, the nats tool, libfaketime, what HTTP plugins import
	@deploy/tools/python-venv.sh >/dev/null
	@deploy/tools/schemathesis.sh >/dev/null
	@deploy/tools/node.sh >/dev/null
	@deploy/tools/http-plugins.sh >/dev/null
	@deploy/tools/go.sh >/dev/null
	@deploy/tools/nats-cli.sh >/dev/null
	@deploy/tools/faketime.sh >/dev/null

build: needs ## build everything and lay it out in target/stage
	cargo build --workspace --locked
	@python3 deploy/tools/stage.py $(STAGE)

sdks: tools ## build the SDKs in TypeScript and Go, for the tests
	@$(WITH_LANGUAGES) deploy/tools/sdks.sh

other-plugins: build sdks ## build the plugins in other languages than Rust, in target/stage/other-plugins
	@$(WITH_PYTHON) $(WITH_LANGUAGES) python3 deploy/tools/stage.py $(STAGE) --all

# It runs wherever there are /proc and /dev. Names are resolved by the C library, which a static program has only in part:
# a broker is best given by its address there.
shim: needs ## build metafleet-shim as a static program: target/x86_64-unknown-linux-gnu/release/metafleet-shim
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --package metafleet-shim --target x86_64-unknown-linux-gnu

images: run-tools build ## build the container images, without a registry
	@$(WITH_NATS) deploy/images/build.py --stage $(STAGE)

publish: run-tools build ## build the images and push them: make publish REPOSITORY=registry.example/me, after docker login
	@$(WITH_NATS) deploy/images/build.py --stage $(STAGE) --repository "$(REPOSITORY)" --push

library: run-tools ## make the small library of the demo
	@python3 tests/media/make_library.py $(DEMO)/library

# A scan in which some file could not be read ends with 6 (partial success): the library has such files.
demo: run-tools build library ## scan a small real library and show what was found
	@echo; echo "== metafleet scan $(DEMO)/library --wait"
	@$(WITH_NATS) $(METAFLEET) scan $(DEMO)/library --wait --plugin-dir $(STAGE)/plugins || [ $$? -eq 6 ]
	@echo; echo "== metafleet meta get '$(DEMO_FILE)'"
	@$(WITH_NATS) $(METAFLEET) meta get "$(DEMO_FILE)"

clean-demo: ## remove the demo's library and data
	rm -rf $(DEMO)

test: tools build other-plugins ## run every test of every language
	@$(WITH_NATS) $(WITH_CLI) $(WITH_PYTHON) $(WITH_OPENAPI) $(WITH_HTTP) $(WITH_LANGUAGES) python3 deploy/tools/run_tests.py

schemathesis: run-tools build ## make up requests from the document of the API and hold the answers of a real fleet against it
	@$(WITH_NATS) $(WITH_OPENAPI) "$$METAFLEET_TEST_OPENAPI" tests/openapi/contract.py

SECONDS := 30
fuzz: needs ## drive each fuzz target of tests/fuzz with libFuzzer: make fuzz SECONDS=600
	@deploy/tools/fuzz.sh $(SECONDS)

docker-tools: needs ## get what tests of containers need: a Docker engine, docker-compose, debootstrap, a registry
	timeout 300 deploy/tools/docker-engine.sh
	timeout 300 deploy/tools/docker-extras.sh

test-docker: tools docker-tools build ## run the tests of containers and of compose.yaml alone
	@$(WITH_NATS) cargo test --workspace --locked --test it -- docker:: compose::

lint: fmt-check clippy doc ## formatting, clippy and documentation, without a warning

fmt-check: needs
	cargo fmt --all --check

clippy: needs
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc: needs
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --locked --no-deps --document-private-items

deny: needs ## licences, sources and who may lean on what
	@deny="$$(deploy/tools/cargo-deny.sh)" && \
	"$$deny" --locked check --allow unused-wrapper bans licenses sources

chaos: run-tools ## the long chaos test: 10,000 files, 50 killed workers
	cargo build --locked --package integration-tests --bin metafleet-chaos
	@$(WITH_NATS) target/debug/metafleet-chaos run --files 10000 --worker-kills 50

# Each experiment is run whatever became of those before; CHAOS="power clocks" runs these alone.
chaos-full: run-tools ## every experiment of tests/CHAOS.md; results and a table in target/chaos (about an hour)
	cargo build --locked --package integration-tests --bin metafleet-chaos
	@deploy/tools/faketime.sh >/dev/null || true
	@$(WITH_NATS) python3 deploy/tools/chaos_full.py $(CHAOS)

soak: run-tools ## 60 minutes of 220 tasks/s with faults all the time: does anything grow? results in target/chaos
	cargo build --locked --package integration-tests --bin metafleet-chaos
	@$(WITH_NATS) python3 deploy/tools/chaos_full.py soak

planted: run-tools ## which experiment finds which bug that was planted on purpose
	@$(WITH_NATS) python3 tests/planted/planted.py --json target/planted/results.json

simulate: ## the core in 1,000,000 simulated worlds
	cargo build --locked --package integration-tests --bin metafleet-chaos
	target/debug/metafleet-chaos simulate --seeds 0..1000000 --commit "$$(git rev-parse HEAD)"

bench: run-tools ## measure throughput and latency beside the raw ceiling
	cargo build --release --locked --package coordinator
	@$(WITH_NATS) target/release/metafleet bench

overhead: tools docker-tools build ## measure what a task costs inside metafleet, as a process, in a container, over the bridge
	@$(WITH_NATS) $(WITH_HTTP) python3 tests/overhead/overhead.py --stage $(STAGE)

throughput: build sdks ## measure what a plugin that does nothing gets done with each SDK, beside the raw ceiling of its client
	cargo build --release --locked --package worker-sdk --package metafleet-shim --bins --examples
	@$(WITH_NATS) $(WITH_PYTHON) $(WITH_LANGUAGES) "$$METAFLEET_TEST_PYTHON" tests/throughput/throughput.py --metafleet $(STAGE)/bin/metafleet

scaffolds: build sdks ## walk from nothing to a running plugin in five languages, with the seconds of each step
	@$(WITH_NATS) $(WITH_PYTHON) $(WITH_LANGUAGES) PATH="$(CURDIR)/$(STAGE)/bin:$$PATH" python3 tests/scaffolds/scaffolds.py
