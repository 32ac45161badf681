// Package manifest reads cleave.yaml, the description of one system: its
// services and the topologies they can run in.
//
//	system: shop
//	services:
//	  order:   {run: ./order/cmd/orderd}                       # a Go package
//	  web:     {run: ./web/cmd/webd, listen: 127.0.0.1:8080}   # a fixed address
//	  ratings: {run: python3 ratings.py, replicas: 2}          # any program; PORT is given
//	topologies:
//	  monolith: {run: ./cmd/shop}                 # one process hosts every Go service
//	  mix:      {run: ./cmd/shop, apart: [order]} # …but these
//
// # Guarantees
//
//   - Strict: an unknown field, a repeated key, a value of the wrong type and a
//     reference to a service that does not exist are errors, not surprises.
//   - Every [Problem] names its line, its field and what would be right; all of
//     a file's problems are reported at once.
//   - The topology "services", a process per service, always exists.
//   - A [Plan] depends on nothing but the file: the order of programs is that of
//     the file.
//
// # What the caller owes
//
// Paths in run are relative to the folder of the file; the programs are started
// there. Parse reads nothing but its argument, and does not look whether a
// package or a command exists.
//
// # Debugging
//
// `cleave up --json` prints the plan it runs; an error has the form
// "cleave.yaml:7: services.order.replicas: …".
//
// # Testing
//
// [Parse] takes bytes: a table of texts is all a test needs.
package manifest
