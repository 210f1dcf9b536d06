#!/usr/bin/env bash
# Builds the gateway and the bench, and measures each kind of call on loopback. Flags are passed to the bench:
# bench/run.sh -d 10s -c 32
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/.work
go build -o bench/.work/replygate ./cmd/replygate
go build -o bench/.work/bench ./bench
exec bench/.work/bench -gateway bench/.work/replygate "$@"
