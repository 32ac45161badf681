// Package pgtest runs real PostgreSQL servers for tests: the programs that
// pg_config names, in a temporary folder, on a socket in it, ended with the test
// process whatever becomes of that. Tests get a database each, of a role that
// may do nothing special. A machine without PostgreSQL fails the tests.
package pgtest
