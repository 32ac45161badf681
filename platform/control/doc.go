// Package control opens and serves the control socket of a running system, a
// Unix socket that only its owner can open. The API is in controlapi.
//
//	client := control.Dial(supervisor.Layout{Dir: dir}.Socket())
//	system, err := client.Status(ctx, &controlapi.StatusRequest{})
//
// # Guarantees
//
//   - Only the owner can connect: the socket has mode 0600 in a folder of mode 0700.
//   - A socket that a dead supervisor left is replaced, one of a living is not:
//     the caller of Serve holds the folder's lock.
//
// # What the caller owes
//
// Dial connects on the first call; a system that is not up shows as
// [connect.CodeUnavailable], see [NotRunning].
//
// # Debugging
//
// curl --unix-socket .cleave/run/ctl.sock -H 'Content-Type: application/json' \
// -d '{}' http://cleave/cleave.control.v1.ControlService/Status
//
// # Testing
//
// Serve on a socket below t.TempDir() with any handler.
package control
