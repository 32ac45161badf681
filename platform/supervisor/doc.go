// Package supervisor builds a system that cleave.yaml describes, runs it as
// processes on this machine, and keeps it running.
//
//	sys, err := manifest.Load(dir)
//	sup, err := supervisor.New(sys, &supervisor.Options{Topology: "monolith"})
//	err = sup.Run(ctx)
//
// It starts the roles first (registry, broker, dashboard: the same executable,
// each killable alone), builds all Go packages in one go meanwhile, and then
// starts the services. [Supervisor.Handler] is what the control socket serves.
//
// # Guarantees
//
//   - An instance that ends by itself is started again, after a pause that grows.
//   - One folder has one supervisor; a second one fails with [*RunningError],
//     which names the first one's pid.
//   - Restart and deploy start the new instance and wait until it is ready before
//     the old one is asked to end. A new version that does not become ready is
//     removed, and what was replaced before goes back to the old version.
//   - A failed build changes nothing that runs.
//   - A fixed address belongs to the supervisor and is passed on as an open
//     socket, so that no connection is refused while a program is replaced.
//   - A program that does not register itself is registered once it is ready, and
//     withdrawn, with the watchers' acknowledgement, before it is told to end.
//   - When a foreground supervisor dies, so do all its processes; what a detached
//     one started goes on, and the next supervisor of the folder adopts it.
//
// # What the caller owes
//
// The executable must answer `role guard`, `role exec` (both by [Role]) and the
// three platform roles. On systems other than Linux the processes of a killed
// foreground supervisor end through the guard process alone, and an adopted
// program with a fixed address cannot be replaced until the next down and up.
//
// # Debugging
//
// Everything lies in .cleave: logs/INSTANCE.log, run/state.json, bin, data.
// Status gives each instance's phase and the reason for it.
//
// # Testing
//
// Package lifecycle holds the decisions without processes. A test of a system
// uses kit/systemtest, which needs no supervisor.
package supervisor
