// Package eventsource stores an aggregate as its events and rebuilds its state from them.
package eventsource
