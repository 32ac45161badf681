// Package outbox makes messages leave a service with the transaction they tell
// of: both happen or neither. The event table is the outbox; what eventsource
// appends leaves the same way.
//
//	db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
//		… change state in tx …
//		_, err := outbox.Add(ctx, tx, event.Stream{Category: "courier", ID: id}, rec)
//		return err
//	})
//	go outbox.NewRelay("delivery", db, b, nil).Run(ctx)
//
// # Guarantees
//
//   - What was committed is published, in order of position, also after a crash
//     at any moment of the service, the relay or the broker. What was not
//     committed is never published.
//   - On an idle system a message is on its way as soon as its transaction is
//     committed; another process's relay notices within 50 ms.
//   - Several relays of one table publish nothing twice and nothing out of
//     order; a bus that holds a copy (natsbus) has each position once.
//
// # What the caller owes
//
// Setup runs before the first use. A table restored from an older copy is not
// published over its own future: Run ends with bus.ErrAhead, and a person
// decides. Consumers that get messages in no order use Once.
//
// # Debugging
//
// What waits is the rows of es_event behind the position of the last message in
// the bus's stream. The row "$relay" of es_checkpoint notes that position now
// and then.
//
// # Testing
//
// Use membus and a database on t.TempDir(): the messages of a committed
// transaction arrive at once.
package outbox
