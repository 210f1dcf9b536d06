# The commands that the docs name. Each is one line that can be typed by itself.

FUZZTIME ?= 30s

.PHONY: build test short race lint fuzz bench demo ci

build: ## the gateway, in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/replygate ./cmd/replygate

test: ## all tests, several minutes; those whose programs are missing skip and say so
	go test -timeout 40m ./...

short: ## the tests of a minute, without the end-to-end suite and what waits
	go test -short ./...

race: ## all tests with the race detector, as CI runs them
	go test -race -count=1 -timeout 40m ./...

lint: ## vet, and golangci-lint by .golangci.yml
	go vet ./...
	golangci-lint run

fuzz: ## one fuzz target: make fuzz PKG=./wecom TARGET=FuzzReadPath
	go test $(PKG) -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(FUZZTIME)

bench: ## the benchmarks of the packages, and the kinds of calls through a gateway
	go test -run '^$$' -bench . -benchmem ./...
	bench/run.sh

demo: ## the product's story on a simulated WeCom
	go run ./cmd/replygate demo

ci: ## what CI runs
	.ci/run
