// Package projection keeps views that follow what services record: the query
// side of CQRS, and a service's replicas of its neighbours' data.
//
//	history := projection.Projection{
//		Name:    "order-history",
//		Sources: []string{"order", "kitchen"},
//		Apply:   projection.Join(projection.On(orderapi.Codec, view.order), projection.On(kitchenapi.Codec, view.ticket)),
//	}
//	runner, err := projection.NewRunner(db, bus, nil, history)
//	host.Run("views", runner.Run)
//
// # Guarantees
//
//   - What Apply writes and the place in the source's events commit together:
//     every event takes effect once, after any crash and any redelivery, also
//     while two processes run the same projection on one database.
//   - The events of one source are applied in the order in which they were
//     recorded. Between sources there is no order: Apply returns bus.ErrNotYet
//     for an event whose partner from another source is missing, and is called
//     again with it.
//   - No event is left out silently: an error stops the projection at that
//     event of that source, is logged, and is tried again with back-off; with an
//     OnError that parks, only that event's stream stops. Only types that the
//     codec does not know are passed over.
//   - After Wait, reads include what the token names.
//   - With several Lanes the order is that of each stream.
//   - A new Version is built beside the old one. It is live, and Live says so to
//     readers, once it includes all that the old one does and has no parked
//     stream. Side effects that ask Past and derive their IDs happen once over
//     versions and rebuilds.
//   - Inline has the view in the append's transaction, Memory in memory.
//
// # What the caller owes
//
// Apply writes through its tx only, and fast. The view's tables are made by the
// service's migrations. Version rises when the view has to be built anew; the
// new version writes into tables of its own, because the older one may still
// run beside it. Give the runner both while the new one is built, and read
// the tables of the version that WaitLive or Live names; later remove the old
// one from the runner, Retire it and drop its tables.
//
// # Debugging
//
// The places are in the table es_checkpoint: name "projection:<name>", rows for
// each version and source; name "$live" and source <name> has the live version
// as its position. Progress says how far each is, Parked what was set aside. A
// projection that stands still logs why, with the position of the event.
//
// # Testing
//
// Package projectiontest checks that repeated delivery and any interleaving of
// the sources give the same view.
package projection
