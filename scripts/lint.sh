#!/usr/bin/env bash
# Static analysis of every module. Any finding fails.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== gofmt"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not formatted:"; echo "$unformatted"; exit 1; }

echo "== go vet"
go vet work

echo "== sealedswitch: type switches and codecs name every event"
go vet -vettool="$(go tool -n sealedswitch)" work

echo "== staticcheck"
go tool staticcheck work

echo "== the published root builds without the workspace"
GOWORK=off go vet ./...

echo "== govulncheck"
if curl -sfI -m 10 https://vuln.go.dev/index/modules.json >/dev/null 2>&1; then
  go tool govulncheck work
else
  echo "its database cannot be reached from here; not run"
fi
