// Package registry knows which instances of which services run, and tells all who need to know.
//
// # What it is for
//
// Both ways of the book in one place: services register themselves with a lease, and a supervisor
// registers programs that know nothing of it. One store counts every change; what it knows is served over
// Connect (package discovery is the client), over DNS, and by a router behind one virtual address per
// service.
//
//	err := registry.Run(ctx, registry.Options{Dir: ".cleave/registry", Token: token})
//
// # Guarantees
//
//   - A lease ends exactly when it says, by the monotonic clock, unless the registry itself was stopped.
//   - Silence of many at once removes nobody who still accepts connections; it makes them SUSPECT, and that
//     ends by itself.
//   - A watcher hears only of services it asked for and only when something changed; a slow one misses
//     states between, never the last.
//   - The drain barrier waits for the acknowledgement of every live watcher of the service, the router
//     among them, for 2 s at most, and then names those that lag.
//   - A virtual address belongs to one service for ever. With a Dir, instances too outlive a restart.
//   - Changes need the token; requests to loopback must name a loopback host.
//
// # What the caller owes
//
// One registry per Dir. Instances that do not speak for themselves are renewed by their registrar, or they
// are gone 10 s after a restart of the registry.
//
// # Debugging
//
// The List call shows every instance with its terms, every virtual address with the reason when it is not
// on port 80, and every watcher with what it acknowledged; dig @127.0.0.1 -p 8053 shows what DNS says.
//
// # Testing
//
// A [Store] alone is a registry in memory: Store.Resolver for code in the process, Store.Handler for an
// HTTP server. It keeps time by package time and is exact inside testing/synctest, with a Probe of your own.
package registry
