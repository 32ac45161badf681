// Package crash kills a system with SIGKILL at named points, over and over:
// while it appends, relays, projects and runs sagas, between real processes,
// SQLite files and a JetStream broker. In some rounds the broker loses the end
// of its stream, too, or the database what was on its way into the write-ahead
// log.
package crash
