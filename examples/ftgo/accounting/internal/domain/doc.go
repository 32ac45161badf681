// Package domain decides about accounts and payments: pure functions of their past.
//
// An account knows its consumer's card. A payment belongs to an order:
//
//	stateDiagram-v2
//	    [*] --> authorized: authorized
//	    [*] --> refused: refused
//	    [*] --> reversed: reversed
//	    authorized --> authorized: revised
//	    authorized --> reversed: reversed
//	    refused --> reversed: reversed
//
// Reversing what was never authorized is remembered, so that an authorization
// that comes later is refused.
package domain
