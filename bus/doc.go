// Package bus carries what services record to the services that follow them:
// events, and the commands and replies of sagas. A Bus is an adapter: membus
// within one process, natsbus over JetStream. A service publishes its event
// table through package outbox and follows others with a Consumer:
//
//	c := bus.Consumer{
//		Name: "replica", DB: db, Bus: b,
//		Filter: bus.Filter{Source: "restaurant", Subjects: []string{"evt.restaurant.>"}},
//		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error { … },
//	}
//	err := c.Run(ctx)
//
// # Guarantees
//
//   - A source's messages arrive in order of their positions, which is the order
//     in which they were committed, and none is left out.
//   - A Consumer's effect and its place are one transaction: each message takes
//     effect once, through crashes, repetitions and several instances.
//   - A message whose handler fails is tried again; those behind it wait, those
//     before it are committed. With a Policy that parks, only those of its
//     stream wait: they are kept in the consumer's database, whatever becomes of
//     the bus's copy, until Retry handles them in their order.
//   - With several Lanes the order is that of each stream. Their number may
//     change at any start, also while another instance runs with another number.
//   - There is no order between different sources.
//
// # What the caller owes
//
// A handler writes only through its tx; what it does elsewhere may happen again.
// It returns ErrNotYet while it misses what another source will bring. The
// tables of package outbox are in the Consumer's database.
//
// # Debugging
//
// The rows of a Consumer in es_checkpoint say where its lanes stand, lane 0
// onwards; that of lane -1 stands for all. A message that fails is logged with
// its position, and a warning is repeated with each try. es_parked has the
// streams that are set aside, with the error, es_parked_message what they keep.
//
// # Testing
//
// Handlers are functions of a transaction and a message: call them. Whole flows
// run on membus. A new adapter runs bustest.
package bus
