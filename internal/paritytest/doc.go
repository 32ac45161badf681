// Package paritytest is one table of calls, and what their callers and handlers must observe of them, for
// every way in which a service can be reached: in the same process, over each protocol, by a foreign client.
//
// A row that a binding cannot express says so, with the reason and with what is observed instead.
package paritytest
