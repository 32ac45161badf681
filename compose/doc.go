// Package compose answers one question from several services: it runs the
// parts of an answer side by side, in the order their dependencies ask for,
// and says exactly which parts are missing and why.
//
// # Use
//
//	var order *Order
//	var ticket *Ticket
//	missing, err := compose.Run(ctx, nil,
//		compose.Part{Name: "order", Service: "order", Do: func(ctx context.Context) (err error) {
//			order, err = orders.Get(ctx, id)
//			return err
//		}},
//		compose.Part{Name: "ticket", Service: "kitchen", Optional: true, Timeout: 150 * time.Millisecond,
//			Do: func(ctx context.Context) (err error) {
//				ticket, err = tickets.Get(ctx, id)
//				return err
//			}},
//	)
//
// A part that needs another's result names it in After and reads the variable
// that the other has written; Run orders the two.
//
// # Guarantees
//
//   - Parts that do not depend on each other run at the same time; a part starts
//     once all parts in its After have ended well or have fallen back.
//   - A required part that fails ends the run: the others are cancelled, parts not
//     yet begun never begin, and Run returns the failure as its error.
//   - An optional part that fails is missing, with one Failure that names it; so is
//     every optional part that comes after it. The rest goes on.
//   - A part with a Fallback that fails is not missing: its Failure is marked
//     FellBack, and the parts after it run.
//   - No part outlives the caller's deadline. An optional part ends earlier, at its own
//     Timeout and at the latest when four fifths of the time left at its start are
//     used, so that a slow part leaves time to answer without it.
//   - Run returns after every goroutine it started has ended. A part's panic is a
//     failure of that part, a *PanicError.
//   - One part alone runs on the caller's goroutine.
//
// # What the caller owes
//
// Do must return soon after its context ends. A part writes only variables that
// no other part writes, and reads only those of parts in its After.
//
// # Debugging
//
// Each Failure carries the part, its service, a code, whether trying again may
// help and how long it took: log it or show it as it is.
//
// # Testing
//
// Do is a plain function; deadlines are exact under testing/synctest.
package compose
