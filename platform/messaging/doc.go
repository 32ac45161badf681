// Package messaging runs a message broker inside the process: a NATS server
// with JetStream that keeps its streams in one folder. It is the "broker" role
// of the platform; a team that outgrows one machine points NATS_URL at the nodes
// of a cluster instead, says in NATS_REPLICAS how many of them keep a copy, and
// changes nothing else.
//
//	err := messaging.Run(ctx, messaging.Options{
//		Dir:   ".cleave/broker",
//		Ready: func(url string) { fmt.Println("NATS_URL=" + url) },
//	})
//
// # Guarantees
//
//   - It listens on loopback unless told otherwise, and beyond loopback only
//     with a token.
//   - One folder belongs to one broker at a time; a second one is refused.
//   - After a restart on the same folder and address the streams are there
//     again and clients go on by themselves.
//
// # What the caller owes
//
// A broker that loses power may lose the last messages it acknowledged, as the
// folder is synchronised to disk every two minutes. Services that publish from
// their event table (package outbox) publish those again; nothing else should
// keep its only copy here.
//
// # Debugging
//
// Any NATS tool connects with the URL that Ready was given. The server's own
// log goes to Options.Logger, its chatter at level debug.
//
// # Testing
//
// Run it on t.TempDir() with Listen "127.0.0.1:0".
package messaging
