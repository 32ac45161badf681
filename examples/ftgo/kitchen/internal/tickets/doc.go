// Package tickets keeps what restaurants prepare: a row each, and an event for
// every change that others may count on, written in one transaction.
//
//	stateDiagram-v2
//	    [*] --> CREATE_PENDING: create
//	    CREATE_PENDING --> [*]: cancel create
//	    CREATE_PENDING --> AWAITING_ACCEPTANCE: confirm create
//	    AWAITING_ACCEPTANCE --> ACCEPTED: accept
//	    ACCEPTED --> PREPARING: start preparing
//	    PREPARING --> READY_FOR_PICKUP: finish preparing
//	    READY_FOR_PICKUP --> PICKED_UP: pick up
//	    AWAITING_ACCEPTANCE --> CANCEL_PENDING: begin cancel
//	    ACCEPTED --> CANCEL_PENDING: begin cancel
//	    CANCEL_PENDING --> CANCELLED: confirm cancel
//	    AWAITING_ACCEPTANCE --> REVISION_PENDING: begin revise
//	    ACCEPTED --> REVISION_PENDING: begin revise
//
// A pending cancellation or revision that is undone, and a revision that is
// confirmed, go back to the status before.
package tickets
