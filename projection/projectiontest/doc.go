// Package projectiontest checks what a view has to bear: that messages come
// again, and that sources come in any interleaving.
//
//	order := event.Stream{Category: "order", ID: "o1"}
//	script := projectiontest.NewScript(t, "order", orderapi.Codec, order, orderapi.Placed{…}, orderapi.Approved{…})
//	script = append(script, projectiontest.NewScript(t, "kitchen", kitchenapi.Codec, ticket, kitchenapi.Created{…})...)
//	projectiontest.AppliedTwice(t, openDB, history, script...)
//	projectiontest.Shuffled(t, openDB, history, 100, script...)
//
// open returns a new, empty database with the event tables and the view's. All
// tables but those of the toolkit are compared.
package projectiontest
