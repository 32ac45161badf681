// Package domain decides what happens to an order: pure functions of its past.
//
//	stateDiagram-v2
//	    [*] --> APPROVAL_PENDING: placed
//	    APPROVAL_PENDING --> APPROVED: approved
//	    APPROVAL_PENDING --> REJECTED: rejected
//	    APPROVED --> CANCEL_PENDING: cancellation requested
//	    CANCEL_PENDING --> CANCELLED: cancelled
//	    CANCEL_PENDING --> APPROVED: cancellation refused
//	    APPROVED --> REVISION_PENDING: revision proposed
//	    REVISION_PENDING --> APPROVED: revised, or revision refused
//
// A command that has taken effect already decides on no events and no error,
// so that a saga may repeat itself.
package domain
