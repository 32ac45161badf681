// Package dashboard shows a running system on one page: its services and
// instances, their state and last log lines, and the map of who calls whom. It
// reads, and changes nothing.
//
//	d := dashboard.New(control.Dial(socket), registry)
//	http.ListenAndServe("127.0.0.1:9000", d.Handler())
//
// # Guarantees
//
//   - Read-only: every request but GET and HEAD is refused.
//   - For its own machine: requests whose Host or Origin is another are refused,
//     and the content policy allows no script and nothing from elsewhere.
//   - Each page has a twin in JSON: /index.json, /instances/ID.json.
//   - What a program logs or is called is shown as text, whatever it contains.
//   - The map shows what is known, and where from: an edge stands for a process
//     that follows the instances of a service at the registry in order to call it.
//     Calls within a process have no edge; the process shows what it hosts.
//
// # What the caller owes
//
// Whoever may log in to the machine may read the pages.
//
// # Debugging
//
// A page that cannot reach the supervisor says so with status 503 and goes on
// trying by itself.
//
// # Testing
//
// New takes interfaces that generated code defines: a test gives it its own.
package dashboard
