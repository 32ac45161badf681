// Package cloudevents has the official Go SDK of CloudEvents read what Cleave
// writes and write what Cleave reads. It holds tests only.
package cloudevents
