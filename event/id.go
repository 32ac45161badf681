package event

// ID is a UUIDv7: a CloudEvents "id", ascending in the process that made it.
type ID [16]byte
