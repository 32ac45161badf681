// Package deploy replaces a running version of a program by another without a
// gap, and puts the old one back when the new one does not become ready. It
// knows no platform: a [Target] carries out its steps.
//
//	err := deploy.Rolling(ctx, target, version, nil)
//
// For each instance that runs, oldest first: a new one is applied, awaited until
// it is ready, the old one is drained, then removed. The rollout itself is a
// pure state machine ([Begin], [Step]) that asks for one action at a time.
//
//	applying ─► awaiting ─► draining ─► removing ─► (next instance | done)
//	    │           │
//	    └───────────┴─► discarding ─► the same way back with the old version ─► reverted | stuck
//
// # Guarantees
//
//   - At no moment fewer instances are ready than were at the start. An instance
//     that stands alone (no second can run beside it) is the exception: it is
//     replaced in its place, and only it is missing meanwhile.
//   - An old instance is drained only after the new one for it is ready, and
//     removed only after it was drained.
//   - At most one instance more than before exists, unless one could not be
//     removed; the error names it.
//   - When a new instance cannot be started or does not become ready, it is
//     removed and those replaced before it are replaced back by the same rules.
//   - A rollout whose context ends goes back, too.
//
// # What the caller owes
//
// One rollout of a program at a time. A target that answers truthfully when an
// instance is ready; Remove returns when the instance is gone.
//
// # Debugging
//
// [Options].Say tells each step; [Error] says which instance failed, why, and
// what serves now.
//
// # Testing
//
// Feed [Step] outcomes and look at the actions; no process is needed.
package deploy
