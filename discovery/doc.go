// Package discovery finds the running instances of a service and chooses among them.
//
// # What it is for
//
// Instances come and go, and their addresses are not known beforehand. A [Resolver] says where the
// instances of a service are, as snapshots pushed at each change; a [Balancer] chooses one of them for
// each call. [Static] is the resolver of fixed addresses, [Client] the one that asks a registry; with a
// [Registration] an instance makes itself known there.
//
//	resolver := discovery.Static(map[string][]string{"kitchen": {"127.0.0.1:7001", "127.0.0.1:7002"}})
//	balancer := discovery.NewBalancer(nil)
//	go func() {
//		for snapshot, err := range resolver.Watch(ctx, "kitchen") {
//			if err == nil {
//				balancer.Update(snapshot)
//			}
//		}
//	}()
//	picked, err := balancer.Pick()
//
// # Guarantees
//
//   - A watch yields its first snapshot at once and then each change, always whole, never a difference; it
//     ends only with its context.
//
//   - An error from a watch is news, not an end: what the last snapshot said stays in force.
//
//   - The balancer never ejects more than half of the instances, and never the last one.
//
//   - An instance that joins others gets its share gradually; one that answers slowly gets less.
//
//   - While the registry is down a client keeps what it knew, and it reconnects by itself; a registration
//     comes back by itself when the registry restarts.
//
//   - When Registration.Run or SetStatus has taken an instance out and named nobody who lags, no router and
//     no watcher sends it new calls.
//
// # What the caller owes
//
// Every [Picked] is finished with Done, once. What counts as a failure is the caller's decision: pass nil
// for an answer that shows the instance to be well, even when the answer is a refusal.
//
// # Debugging
//
// [Balancer.States] tells what the balancer holds of each instance: cost, calls in flight, ejection.
//
// # Testing
//
// Give the code under test a Static resolver, or the one of discoverytest, whose content a test changes.
// All types take time from package time and behave exactly inside testing/synctest.
package discovery
