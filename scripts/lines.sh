#!/usr/bin/env bash
# Lines of the order aggregate, its sagas and its view in FTGO, and of their
# tests: neither blank nor only a comment. docs/benchmarks.md shows them beside another's.
set -euo pipefail
cd "$(dirname "$0")/../examples/ftgo"

count() { grep -cvE '^[[:space:]]*(//.*)?$' <(cat "$@") || true; }

# bodies prints the functions and methods of a file that have these names.
bodies() {
  awk -v names="^func (\\\\([^)]*\\\\) )?($2)[(]" '$0 ~ names {on = 1} on {print} on && (/^}/ || /^func.*}$/) {on = 0}' "$1"
}

row() { printf '%-34s %5d %7d\n' "$1" "$2" "$3"; code=$((code + $2)); tests=$((tests + $3)); }

code=0 tests=0
printf '%-34s %5s %7s\n' '' code tests
row 'aggregate: events, state, decide' \
  "$(count order/orderapi/events.go order/internal/domain/{decide,doc,state}.go)" \
  "$(count order/internal/domain/decide_test.go order/orderapi/events_test.go)"
row 'commands that drive them' "$(bodies order/internal/rpc/rpc.go 'PlaceOrder|place|ReviseOrder|CancelOrder|attempt' | count /dev/stdin)" 0
row 'sagas: create, cancel, revise' "$(count order/internal/sagas/sagas.go)" "$(count order/internal/sagas/sagas_test.go)"
row 'view: order history' "$(count orderhistory/internal/history/history.go)" "$(count orderhistory/internal/history/history_test.go)"
printf '%-34s %5d %7d\n' all "$code" "$tests"
