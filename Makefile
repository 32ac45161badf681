# The two commands a newcomer needs: make up, make test.
TOPOLOGY ?= services
SYSTEM   ?= examples/ftgo
# Where cleave up links the services: one go build for them and for it uses the
# cores better than one after the other, and nothing is linked twice.
BUILT     = $${CLEAVE_STATE:-$(SYSTEM)/.cleave}/build/0

.PHONY: up test test-long bench lint gen tidy setup

up: ## build and run FTGO; TOPOLOGY=monolith or mix for the same in other processes
	@go build -o $(BUILT)/ ./$(SYSTEM)/... ./platform/cmd/cleave
	@$(BUILT)/cleave up $(SYSTEM) --topology $(TOPOLOGY)

test: setup ## every module's tests
	go test -count=1 work

test-long: setup ## with the race detector, and the long matrices in full
	CLEAVE_LONG=1 go test -race -count=1 -timeout 60m work
	CLEAVE_LONG=1 go test -count=1 -timeout 60m ./conformance/crash

bench: ## benchmarks beside their peers
	go test -run '^$$' -bench . -benchmem ./bench/... ./breaker/... ./eventsource/... ./graphql/... ./rpi/...

lint: ## gofmt, vet, staticcheck, the root without the workspace, govulncheck where its database can be had
	@scripts/lint.sh

gen: ## code from .proto files, without protoc
	go run ./tools/protogen examples/ftgo
	go run ./tools/protogen discovery platform

tidy: ## every go.mod
	scripts/tidy.sh

setup:
	@scripts/setup.sh
