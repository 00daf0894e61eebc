# heki. `make` lists the targets. GO, VERSION, FUZZTIME, BENCH and UNIT=skip may be set.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
BENCH    ?= .
CACHE    := $(or $(HEKI_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/heki-test)
# A checkout owned by somebody else, as in containers, has no revision to stamp.
export GOFLAGS += -buildvcs=false

LINT_VERSION := v2.15.0
LINT         := $(CACHE)/golangci-lint-$(LINT_VERSION)-$(shell $(GO) env GOVERSION)/golangci-lint
LDFLAGS      := -s -w -X heki/constant.Version=$(VERSION)

.PHONY: help demo build test check vet fmt lint unit debug fuzz real bench deps clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## a panel, a node and users on this machine, to look at; Ctrl-C ends it
	./heki demo

build: ## ./heki, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o heki ./cmd/heki

test: $(if $(filter skip,$(UNIT)),,unit) real ## all tests, then real sing-box, Xray and mihomo clients; UNIT=skip leaves out the first

check: vet lint unit debug ## all that a change must pass: vet, lint and format, race tests with every fuzz seed, debug tests

vet:
	$(GO) vet ./...
	$(GO) -C test vet ./...

lint: $(LINT) ## golangci-lint and the format (make fmt repairs it)
	$(LINT) run --allow-parallel-runners ./...
	cd test && $(LINT) run --allow-parallel-runners ./...

fmt: $(LINT) ## format the source
	$(LINT) fmt ./...
	cd test && $(LINT) fmt ./...

# Built from the pinned module in .ci/tools: about two minutes, once a machine.
$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) into $(@D)"
	@grep -q 'golangci-lint/v2 $(LINT_VERSION)' .ci/tools/go.mod
	@mkdir -p '$(@D)'
	$(GO) -C .ci/tools build -trimpath -ldflags '-s -w' -o '$@.tmp' github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv '$@.tmp' '$@'

unit: deps ## unit tests under the race detector, in random order
	$(GO) test -race -shuffle=on -timeout 20m ./...

debug: ## the same with sing's buffer leak detector
	$(GO) test -tags debug -timeout 20m ./...

fuzz: ## search with every fuzz target for FUZZTIME; commit what it finds as a seed
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' .ci/fuzz

real: deps ## sing-box, Xray and mihomo against a real heki; builds them once (minutes)
	@report=$$(mktemp) && trap 'rm -f "$$report"' EXIT && \
	echo '$(GO) -C test test -count=1 -timeout 38m ./...' && \
	HEKI_TEST_REPORT=$$report $(GO) -C test test -count=1 -timeout 38m ./...; code=$$?; cat "$$report"; exit $$code

bench: ## all benchmarks; BENCH picks by name
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

deps: ## what Go does not bring: a C compiler for the race detector (Debian, root)
	@.ci/deps

clean: ## the binary and Go's test cache; HEKI_TEST_CACHE keeps the real clients
	rm -f heki
	$(GO) clean -testcache
