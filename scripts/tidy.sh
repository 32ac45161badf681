#!/usr/bin/env bash
# Tidies every module of the workspace. `go mod tidy` ignores workspaces, so each go.mod is copied,
# given temporary replaces for its siblings, tidied, and copied back without them.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
path=github.com/cleave-go/cleave
modules=(. kit platform examples/ftgo conformance bench tools)

for m in "${modules[@]}"; do
  cd "$root/$m"
  cp go.mod tidy.mod
  [ -f go.sum ] && cp go.sum tidy.sum
  replaced=()
  for s in "${modules[@]}"; do
    name=$path; [ "$s" = . ] || name=$path/$s
    [ "$s" = "$m" ] && continue
    go mod edit -replace="$name@v0.0.0=$root/$s" tidy.mod
    replaced+=(-dropreplace="$name@v0.0.0")
  done
  GOWORK=off go mod tidy -modfile=tidy.mod
  go mod edit "${replaced[@]}" tidy.mod
  mv tidy.mod go.mod
  [ -f tidy.sum ] && mv tidy.sum go.sum
  echo "tidy: $m"
done
