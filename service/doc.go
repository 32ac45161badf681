// Package service is the chassis: it runs services written against a Host,
// one or many in a process, and starts and stops them in order.
//
// A service is a function that registers what it offers and starts nothing:
//
//	func New(ctx context.Context, host *service.Host) error {
//		db, err := host.DB(ctx, migrations)
//		if err != nil {
//			return err
//		}
//		kitchen := kitchenapi.NewKitchenServiceClient(host.Client("kitchen"))
//		orderapi.RegisterOrderServiceHandler(host.Server(), rpc.New(db, kitchen))
//		host.Run("relay", relay.Run)
//		return nil
//	}
//
// Run runs any number of them. Whether kitchen is in the same process, in
// another or on another machine is configuration, and configuration is the
// environment: the table is in Environment.
//
// # Guarantees
//
//   - Each service has its own database, in one process or in many.
//   - A process is ready once every service answers: only then is it
//     registered, and its supervisor told.
//   - It stops in two phases: it leaves the registry and waits until its
//     callers know, stops accepting connections, finishes the calls it has
//     and closes each connection with its next answer; then workers end, and
//     databases close last. Callers that let go of connections idle for a
//     second, as rpi does, lose nothing.
//   - Listeners on the loopback refuse other Host names and foreign Origins.
//
// # What the caller owes
//
// Constructors that start nothing, and workers that end when their context
// does. A worker that returns an error stops the process: its supervisor
// starts it again.
//
// # Debugging
//
// The admin listener, on the loopback unless told otherwise, serves /livez,
// /readyz, /startupz, /metrics, /config (without secrets) and /debug/pprof.
// Logs carry the trace they belong to.
//
// # Testing
//
// kit/systemtest boots services inside go test.
package service
