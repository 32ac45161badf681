// Package saga keeps data consistent across services that each have their own
// database: a saga carries out steps one behind the other, and undoes them in
// reverse when one is refused or not done in time.
//
//	var create = saga.Define("create-order",
//		saga.Local[Order]("create", nil).Undo(saga.Locally(reject)),
//		saga.Call("ticket", kitchenapi.CreateTicket, ticketReq, gotTicket).
//			Undo(saga.Command(kitchenapi.CancelCreate, cancelReq)).Timeout(10*time.Second),
//		saga.Call("authorize", accountingapi.Authorize, authorizeReq, nil).
//			Undo(saga.Command(accountingapi.Reverse, reverseReq)).Timeout(10*time.Second).Pivot(),
//		saga.Call("confirm", kitchenapi.ConfirmCreate, confirmReq, nil),
//		saga.Local("approve", approve))
//
// Start writes a saga in the transaction of what begins it. An Orchestrator,
// in the same service, carries it on; in the other services a Participant
// carries out the commands.
//
// # Guarantees
//
//   - A saga ends completed, with every step done, or rolled back, with every
//     step undone that was done; or it is listed by Stuck and still tried.
//   - Start, each step and what it writes commit together: a crash at any point
//     of any service loses nothing and repeats nothing.
//   - A command takes effect once. One that arrives again gets its stored
//     answer; a reply that is late, repeated or out of order changes nothing.
//   - An undo arrives behind the command that it undoes.
//   - Before the pivot a refusal or a timeout leads back; behind it only
//     forward, however long that takes.
//   - A step that timed out is undone beside the others: a participant that is
//     down does not keep the rest from being undone.
//   - The same key is one saga.
//   - Sagas go on when the Orchestrator starts, and no timer waits for another
//     one that fails.
//
// # What the caller owes
//
// Between its steps a saga is visible to others: mark what it works on as
// pending, and refuse or wait when another saga comes upon it. An undo is not
// refused, and is done when there is nothing to undo. Names of sagas and steps
// stay while sagas are under way; data decodes what older versions encoded.
// The service runs an outbox.Relay. Keys are unique for ever: ended sagas stay
// in the table.
//
// Failures: a *Refusal is for good. ErrNotYet, any other error and a panic
// change nothing and are tried again with back-off, by Policy.
//
// # Debugging
//
// The table saga_instance has a row for each saga with its state, step and last
// error; saga_reply what a participant answered. Stuck lists what needs a
// person, Resume tries it again now. The commands and replies of a saga are the
// records of the streams "$cmd.<service>/<saga id>" and "$rpl.<caller>/<saga
// id>" in the event tables.
//
// # Testing
//
// Package sagatest steps through a definition without bus and database. A
// Handler is tested as part of its service.
package saga
