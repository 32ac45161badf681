// Package event is the vocabulary of domain events: what happened, where, why.
package event
