// Package sagatest tests saga definitions without bus, database or waiting.
//
//	sagatest.For(t, create, order).
//		Local("create").Done().
//		Expect("kitchen/create-ticket").With(ticketReq).Reply(ticket).
//		Expect("accounting/authorize").Refuse("CARD_EXPIRED", "the card expired in May").
//		Expect("kitchen/cancel-create").Done().
//		Undo("create").Done().
//		Ended(saga.RolledBack).Because("authorize", "CARD_EXPIRED")
package sagatest
