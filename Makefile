# `make` alone prints what there is to do. Go and Node.js are all it takes; everything else is pinned and built here.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/millrace/millrace/internal/telemetry.version=$(VERSION)
# Packages to test, for a short way: make test/world PKG=./starter/...
PKG ?= ./...
# Modules of their own, beside the product: what they need must not weigh on it.
MODULES := $(patsubst %/go.mod,%,$(wildcard devstack/go.mod examples/*/go.mod))
# A world on free ports in a throw-away folder, so that tests run beside whatever is up.
WORLD = bin/devstack --free --

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z][a-z\/-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Send 200,000 flights in and read them back from S3; STAY=1 leaves everything up
	@began=$$(date +%s); test -e bin/demo || echo 'building the demo itself; a few seconds to a minute'; \
		CGO_ENABLED=0 go build -C examples/demo -o ../../bin/demo . && \
		DEMO_BEGAN=$$began LDFLAGS='$(LDFLAGS)' bin/demo $(if $(STAY),--stay)

.PHONY: up
up: export MILLRACE_LISTEN ?= 127.0.0.1:$(if $(findstring free,$(DEVSTACK_PORTS)),0,8000)
up: build ## Start the outside world and Millrace in it, with examples/millrace.yaml, until Ctrl-C; README.md says how to move ports
	@bin/devstack -- sh -c 'case $$MILLRACE_LISTEN in *:0) at="on a free port, which its line below tells";; *) at=http://$$MILLRACE_LISTEN;; esac; \
		echo "make up: Temporal UI $$TEMPORAL_UI_URL, capture $$at; addresses for other shells: . .devstack/data/world.env"; \
		echo "make up: Ctrl-C takes everything down; what was stored stays in .devstack/data for the next time"; \
		exec bin/millrace up --config examples/millrace.yaml'

# RACE=1 has the product's tests built with the race detector, and the processes that test/crash kills.
GOTEST = $(if $(RACE),env CGO_ENABLED=1 go test -race,go test)

.PHONY: test
test: ## Run all tests, against real engines started for it; RACE=1 with the race detector, which needs a C compiler
	@$(MAKE) test/crash ROUNDS=$(or $(ROUNDS),24) EXPORT_ROUNDS=10 RUN='WhateverDies|Rolling' && $(MAKE) test/world && $(MAKE) test/modules

.PHONY: test/unit
test/unit: ## Run the tests that need nothing but Go: under 30 s warm
	go test $(PKG)

.PHONY: test/world
test/world: bin/devstack ## Run the product's tests, unit and world; PKG=./starter/... for some
	@test -z '$(RACE)' || command -v $${CC:-gcc} >/dev/null || { echo 'RACE=1 needs a C compiler: install gcc, or set CC' >&2; exit 1; }
	$(WORLD) $(GOTEST) -tags world -timeout 30m $(PKG)

# A world of its own, whose parts may die. SEED repeats a run; RUN=EveryEvent breaks ingest, RUN=EveryInterval exports;
# EXPORT_ROUNDS is ROUNDS for exports alone; RACE=1 takes a binary with the race detector; BROKEN names failpoints of a build
# that is broken on purpose, such as loader.without.plan=on, and then the run must catch it.
.PHONY: test/crash
test/crash: bin/devstack ## Kill, stop and cut off parts of a running Millrace; ROUNDS=300 SEED=1 repeats a run
	@$(if $(RACE),CGO_ENABLED=1,CGO_ENABLED=0) go build $(if $(RACE),-race) -ldflags '$(LDFLAGS)' -o bin/millrace-crash ./cmd/millrace
	@MILLRACE_BINARY=$(CURDIR)/bin/millrace-crash MILLRACE_CRASH_ROUNDS=$(or $(ROUNDS),300) MILLRACE_CRASH_SEED=$(SEED) MILLRACE_CRASH_BROKEN='$(BROKEN)' MILLRACE_CRASH_EXPORT_ROUNDS=$(EXPORT_ROUNDS) \
		bin/devstack --free --revive --toxiproxy --parts temporal,clickhouse,kafka,s3,postgres -- \
		go test -count=1 -tags crash -timeout 80m -v -run '$(or $(RUN),WhateverDies)' ./promises/crash/

# What we rely on in Kafka, by the names of the tests: the others of assumptions/ ask other parts.
KAFKA_ASSUMPTIONS = $(shell sed -n 's/^func \(Test[A-Za-z0-9]*\).*/\1/p' assumptions/kafka_*_test.go | paste -s -d '|' -)

# The packages that test/kafka tests, for a short way: make test/kafka KAFKA_PKG=./ingest/broker/ KAFKA_BROKERS=1
KAFKA_PKG ?= ./ingest/...

# What three brokers are not asked, because one has answered it: the loader and ClickHouse, builds broken on purpose,
# clocks, what people do by hand, and tests with a kfake of their own. KAFKA_ONE_ONLY='^$$' runs them there, too.
KAFKA_ONE_ONLY ?= ^Test(Without|AWatermarkOneBlockEarly|ClickHouseAway|PartitionsThatAreAssigned|TheLoadersOwnClock|APlanIsNotMended|AMendedPartition|StatusShows|ATopicLeavesTheRoster|ATokenOnRecord|ABlockT|ABlockWith|APartitionWhoseBlock|ALostAnswer|AsyncInsert|ACopy|ARequestThatIsSentAgain|AnOpenBlock|AnExpired|AnEmptied|KafkaAway|ALateIdle|AServerThat|ACancelBefore|EveryMetric|NoRowEver|ACommitThatCannot)

.PHONY: test/kafka
test/kafka: bin/devstack ## Run the tests of ingest on the genuine Apache Kafka, one broker and three; needs Java 17 and Maven
	@for program in java mvn; do command -v $$program >/dev/null || { echo "make test/kafka: $$program is not on PATH; the genuine Kafka needs Java 17 and Maven 3.8 or newer" >&2; exit 1; }; done
	@test -n "$(KAFKA_ASSUMPTIONS)" || { echo "make test/kafka: assumptions/kafka_*_test.go name no tests" >&2; exit 1; }
	go test -C devstack -count=1 -tags 'world apache' -run 'ThreeNodes|ANodeThatDies' -timeout 5m .
	@for brokers in $(or $(KAFKA_BROKERS),1 3); do \
		echo "Apache Kafka, brokers: $$brokers"; \
		KAFKA=apache KAFKA_BROKERS=$$brokers bin/devstack --free --parts clickhouse,kafka -- sh -c \
			'if [ $$KAFKA_BROKERS = 3 ]; then set -- -tags "world threebrokers" -skip "$(KAFKA_ONE_ONLY)"; else set -- -tags world; fi; \
			go test -count=1 -tags world -timeout 15m -run "^($(KAFKA_ASSUMPTIONS))$$" ./assumptions/ && \
			go test -count=1 "$$@" -timeout 15m $(KAFKA_PKG)' || exit 1; \
	done

# What we rely on in S3, by the names of the tests.
S3_ASSUMPTIONS = $(shell sed -n 's/^func \(Test[A-Za-z0-9]*\).*/\1/p' assumptions/s3_*test.go | paste -s -d '|' -)

.PHONY: test/minio
test/minio: bin/devstack ## Run the tests of the S3 destination on MinIO, and those of encryption, roles and host names
	@test -n "$(S3_ASSUMPTIONS)" || { echo "make test/minio: assumptions/s3_*test.go name no tests" >&2; exit 1; }
	S3=minio bin/devstack --free --parts clickhouse,s3 -- sh -c \
		'go test -count=1 -tags "world minio" -timeout 5m -run "^($(S3_ASSUMPTIONS))$$" ./assumptions/ && \
		go test -count=1 -tags "world minio" -timeout 15m ./destinations/s3/'

.PHONY: test/modules
test/modules: bin/devstack ## Run the tests of the modules beside the product: devstack and examples
	@for module in $(MODULES); do echo "go test -C $$module -tags world ./..."; $(WORLD) go test -C $$module -tags world -timeout 20m ./... || exit 1; done

.PHONY: histories
histories: bin/devstack ## Record the histories of a release, which later ones replay, while the promises are tested: RELEASE=0.4
	@test -n '$(RELEASE)' || { echo 'make histories: give the release, such as RELEASE=0.4' >&2; exit 1; }
	@test ! -e 'workflows/testdata/histories/$(RELEASE)' || { echo 'make histories: workflows/testdata/histories/$(RELEASE) is there: what a release has recorded is never recorded anew' >&2; exit 1; }
	@MILLRACE_RECORD_HISTORIES=workflows/testdata/histories/$(RELEASE) $(WORLD) go test -count=1 -tags world -timeout 30m ./promises/
	@go test -count=1 -run Replay ./workflows/

.PHONY: lint
lint: lint/go lint/workflows lint/selftest ## Check style, arrows between rooms, and determinism of workflows

.PHONY: lint/go
lint/go: ## Run golangci-lint in every module
	tools/run golangci-lint run ./...
	@for module in $(MODULES); do echo "golangci-lint run, in $$module"; (cd $$module && "$(CURDIR)/tools/run" golangci-lint run ./...) || exit 1; done

.PHONY: lint/workflows
lint/workflows: ## Find what is not deterministic in workflow code
	tools/run workflowcheck -config tools/workflowcheck/config.yaml ./workflows/...

.PHONY: lint/selftest
lint/selftest: ## Prove that the linters refuse what they are there to refuse
	tools/lint-selftest

.PHONY: build
build: bin/devstack ## Build bin/millrace and bin/devstack
	CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o bin/millrace ./cmd/millrace

# Go knows best what has changed, so it is always asked.
.PHONY: bin/devstack
bin/devstack:
	@CGO_ENABLED=0 go build -C devstack -o ../bin/devstack .

.PHONY: bench
bench: build ## Measure an export, and the loader, each against ClickHouse's own insert
	@docs/benchmarks/run

.PHONY: bench/live
bench/live: build ## Measure what a backfill does to live exports, with its governor and without: 20 minutes
	@docs/benchmarks/run live

.PHONY: docs/screenshots
docs/screenshots: ## Take the pictures in docs/screenshots anew, from a running demo; needs a Chromium
	@CGO_ENABLED=0 go build -C examples/demo -o ../../bin/demo . && LDFLAGS='$(LDFLAGS)' bin/demo --then tools/screenshots/run

.PHONY: clean
clean: ## Remove bin/ and the state of the outside world; built tools stay in the cache
	rm -rf bin .devstack
