// Package kit is the batteries of a service's main: the SQLite driver, the
// OpenTelemetry SDK with OTLP export, Prometheus metrics, JSON logs, signals
// and flags, around service.Run.
//
//	func main() { kit.Main("order", order.New) }
//
// # Guarantees
//
//   - SIGINT and SIGTERM stop in order; a second one at once.
//   - The exit status is 0 after a stop that was asked for, 1 after a failure,
//     2 after wrong arguments.
//   - Logs go to standard error, one JSON object a line, with trace ids.
//   - Without OTEL_EXPORTER_OTLP_ENDPOINT no telemetry leaves the process. With
//     it spans go to the collector as http/protobuf; OTEL_EXPORTER_OTLP_HEADERS
//     and _TIMEOUT hold, and SSL_CERT_FILE names authorities of one's own.
//     OTEL_TRACES_SAMPLER_ARG is the share of traces that are recorded with
//     OTEL_TRACES_SAMPLER=parentbased_traceidratio; the others cost ids only.
//
// # What the caller owes
//
// Nothing: every setting has a default, so a binary runs alone. -h lists the
// environment that it reads.
//
// # Debugging
//
// -describe prints as JSON what the binary offers and needs, without starting
// it. The admin listener serves the rest.
//
// # Testing
//
// systemtest boots the services of a whole system inside go test.
package kit
