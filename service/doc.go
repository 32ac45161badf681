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
//     and answers each connection once more, with the word that it closes; it
//     goes when all are closed, or after 10 s. Then workers end, and databases
//     close last. Callers that pause for less than 5 s between requests lose
//     nothing; over HTTP/2, which has GOAWAY, no others do either.
//   - Calls from other services come as gRPC over rpi/grpcwire, on the port that
//     HTTP is served on, and are announced so to the registry; not with TLS, not at
//     an edge and not with CLEAVE_WIRE=connect. What is promised here holds for both.
//   - With CLEAVE_TLS_CERT, _KEY and _CA services speak mutual TLS to each other,
//     and with CLEAVE_TLS_PEERS serve nobody else; files that change are read
//     again. Listeners of edges and the admin listener stay plain.
//   - With CLEAVE_MAX_CALLS a service works on no more calls at a time than it can
//     without making them wait, and refuses the least critical first.
//   - At an edge nobody can say how much a call matters: rpi.CriticalityHeader is
//     removed.
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
// /readyz, /startupz, /metrics, /config (without secrets), /debug/pprof and, if
// Options.LogLevel is set, /loglevel: GET it or PUT another. POST /debug/flight
// has the last seconds of execution kept, GET reads them for go tool trace,
// DELETE ends that; CLEAVE_FLIGHT keeps them from the beginning.
// Logs carry the trace they belong to.
//
// # Testing
//
// kit/systemtest boots services inside go test.
package service
