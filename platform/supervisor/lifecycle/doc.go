// Package lifecycle decides what happens to one supervised instance. It is a
// pure state machine: [Step] takes a state and an event and returns the next
// state and what to do. Clock, processes and network belong to the caller.
//
//	pending ─► starting ─► ready ◄─► unready
//	              │  ▲        │ │
//	              ▼  │        │ │ stop
//	           waiting ◄──────┘ ▼
//	              │         draining ─► stopped
//	              ▼
//	           failed (only while the attempts of a first start are limited)
//
// # Guarantees
//
//   - There is at most one process: [Spawn] is only asked for while there is none.
//   - An event of an earlier process changes nothing: events carry their run.
//   - A probe runs only while a process lives; it is stopped on every way out.
//   - A failed start or a crash is retried for ever, with a growing pause, unless
//     [Policy].Attempts limits the first start.
//   - Stop always ends in stopped, from every state, and a stopped instance
//     never starts again.
//   - A stop signal follows the drain: [Term] comes after [Drained].
//
// # What the caller owes
//
// Every [Spawn] is answered by one [Spawned] or [SpawnFailed]; every process
// that was spawned ends with one [Exited]; [After] delivers its event once.
//
// # Debugging
//
// [State].Reason says why the instance is where it is.
//
// # Testing
//
// Feed events, look at states: no clock, no process.
package lifecycle
