// Package registryapi is the wire of the registry: cleave.registry.v1, its
// messages and its Connect service.
package registryapi
