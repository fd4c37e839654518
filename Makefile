# Everything that is done to this repository, by name. `make` alone lists it.

SHELL       := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help

# Targets write the same files: one after the other.
.NOTPARALLEL:

# Debian keeps the server binaries of PostgreSQL off the PATH.
export PATH := $(PATH):$(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))

# A revision is stamped into the binary where git can tell it.
STAMP := $(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo true || echo false)

GENERATED = $(shell find server -name '*.gen.go')

.PHONY: help
help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/marque
	@go build -buildvcs=$(STAMP) -o bin/marque ./server

.PHONY: run
run: build ## Build and start a development server with its data in .marque/
	@exec bin/marque serve --dev --data-dir .marque

.PHONY: cluster
cluster: build setup ## Start three nodes on a PostgreSQL behind a load balancer, for a look (Ctrl-C ends it)
	@go build -o build/cluster ./conformance/cluster/show
	@exec build/cluster -marque bin/marque

.PHONY: demo
demo: build ## Walk through what Marque does, with a server of its own (ends by itself)
	@for sdk in python typescript; do sdks/$$sdk/check --setup || true; done
	@go run ./conformance/demo -marque bin/marque $(DEMO)

.PHONY: generate
generate: ## Generate the server's stub, the SDKs and their reference from openapi.yaml
	@go generate ./...
	@go run ./generators

.PHONY: generate-check
generate-check: ## Fail if the generated code is not what openapi.yaml gives
	@before=$$(cat $(GENERATED) | sha256sum); \
	go generate ./...; \
	after=$$(cat $(GENERATED) | sha256sum); \
	if [ "$$before" != "$$after" ]; then \
		echo "generated code was out of date: it has been generated anew, look at git diff" >&2; exit 1; \
	fi
	@go run ./generators -check

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l server generators conformance migrations .ci); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:" >&2; echo "$$unformatted" >&2; exit 1; fi
	@go vet ./... ./.ci/summary
	@go tool staticcheck ./... ./.ci/summary

.PHONY: check
check: setup lint generate-check ## The fast loop: lint, drift of generated code, all tests in their short form
	@go test -short -json ./... | go run ./.ci/summary

.PHONY: test
test: DEMO = -every-sdk
test: setup lint generate-check demo sdks conformance ## Everything, from a fresh clone: lint, demo, SDKs, conformance, all tests with the race detector
	@go test -race -timeout 14m -json ./... | go run ./.ci/summary

.PHONY: sdks
sdks: build ## Check each SDK: format, types, unit tests, examples, a clean install of what would be published
	@sdks/go/check
	@sdks/python/check
	@sdks/typescript/check

.PHONY: conformance
conformance: build setup ## Judge each SDK by the same cases against a running server, on both databases
	@go run ./conformance/runner -out build/conformance

.PHONY: bench
bench: build setup ## Measure server and SDKs beside the limits of the stack, and ten million revocations
	@go run ./conformance/load -marque bin/marque
	@go test ./server/internal/store -run '^$$' -bench TenMillion -benchtime 1x -timeout 15m | grep '^Benchmark'
	@$(MAKE) --no-print-directory bench-sdks

.PHONY: bench-sdks
bench-sdks: setup ## Measure the SDKs: cached tokens, verification beside the bare signature check, import, bundle
	@cd sdks/go && go test -run '^$$' -bench . . | grep -v '^ok\|^PASS\|^pkg\|^goos\|^goarch'
	@cd sdks/python && .venv/bin/python bench/bench.py
	@cd sdks/typescript && npm run --silent bench

# The parsers, as package:target, each fuzzed for $(FUZZ). Before Go 1.27 a target
# that has found nothing can fail when its time is over (go.dev/issue/75804): it is
# asked once more.
FUZZ := 30s
PARSERS = jose:FuzzParse jose:FuzzParseJWK jose:FuzzCheckJSON httpapi:FuzzForm httpapi:FuzzFraming \
	identity:FuzzParseScope identity:FuzzParseID config:FuzzDuration

.PHONY: fuzz
fuzz: ## Fuzz each parser for 30 s
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; code=0; \
	once() { go test -run '^$$' -fuzz "^$${parser#*:}$$" -fuzztime $(FUZZ) -fuzzminimizetime 5s "./server/internal/$${parser%:*}" >"$$log" 2>&1; }; \
	overtime() { grep -q '^    context deadline exceeded$$' "$$log" && ! grep -q 'Failing input' "$$log"; }; \
	for parser in $(PARSERS); do \
		verdict=ok; \
		once || { overtime && once; } || verdict=SHORT; \
		execs=$$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$$log" | tail -n 1); \
		printf '%-30s %-10s %-5s  %s\n' "fuzz $$parser" - "$$verdict" "$${execs:-no} executions in $(FUZZ)"; \
		if [ "$$verdict" != ok ]; then code=1; tail -n 30 "$$log"; fi; \
	done; exit $$code

.PHONY: faults
faults: setup ## Break a running server in every way we know and fuzz the parsers; figures beside targets, < 20 min
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; code=0; \
	go test -c -o "$$dir/faults" ./conformance/faults; \
	(cd conformance/faults && "$$dir/faults" -full -test.timeout 20m) || code=1; \
	$(MAKE) --no-print-directory fuzz || code=1; \
	exit $$code

.PHONY: setup
setup: ## Install what the tests need where that is possible, else say what is missing
	@.ci/setup
	@sdks/python/check --setup
	@sdks/typescript/check --setup

.PHONY: clean
clean: ## Remove what was built, and the data of the development server
	@rm -rf bin build .marque
