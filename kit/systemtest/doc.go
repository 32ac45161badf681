// Package systemtest boots the services of a whole system inside go test: real
// databases in a temporary folder, real listeners on the loopback, one bus in
// memory, and tokens from an issuer of its own.
//
//	s := systemtest.Start(t, nil,
//		kit.Service{Name: "order", New: order.New},
//		kit.Service{Name: "kitchen", New: kitchen.New})
//	orders := orderapi.NewOrderServiceClient(s.Client("order"))
//	placed, err := orders.PlaceOrder(s.As(ctx, "alice", "consumer"), request)
//
// # Guarantees
//
//   - Start returns when every service is ready; the test's end stops them and
//     fails the test if they do not stop in order.
//   - With Options.Apart each service runs as a process of its own would: its
//     calls go over HTTP, found through discovery.
//
// # What the caller owes
//
// Services that keep what they know in their Host and database: the process is
// shared.
//
// # Debugging
//
// Logs go to the test's own log, and show when it fails or runs with -v.
//
// # Testing
//
// A test of one service's logic does not need a system: see eventsourcetest
// and rpi.Local.
package systemtest
