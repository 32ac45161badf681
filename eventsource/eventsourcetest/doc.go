// Package eventsourcetest tests deciders and stores.
package eventsourcetest
