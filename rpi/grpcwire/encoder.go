package grpcwire

// encoder compresses headers (RFC 7541). What is the same from call to call
// goes into the peer's dynamic table once and is named by its index ever
// after; what differs is sent as it is. The table is never filled beyond its
// size, so nothing is evicted and an index is a mere subtraction.
type encoder struct {
	known  map[field]int // when a field was added, from 1
	added  int
	room   int // bytes left in the table
	resize int // announce this size with the next block; -1: nothing to say
	blocks map[string][]byte
}

type field struct{ name, value string }

const tableSize = 4096

func newEncoder() encoder {
	return encoder{known: map[field]int{}, room: tableSize, resize: -1, blocks: map[string][]byte{}}
}

// limit follows the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) limit(size uint32) {
	n := min(int(min(size, tableSize)), tableSize)
	e.known, e.blocks = map[field]int{}, map[string][]byte{}
	e.added, e.room, e.resize = 0, n, n
}

// begin appends what must come before the fields of a block.
func (e *encoder) begin(b []byte) []byte {
	if e.resize < 0 {
		return b
	}
	b = appendInt(append(b, 0x20), 5, 0) // empties the table
	if e.resize > 0 {
		b = appendInt(append(b, 0x20), 5, e.resize)
	}
	e.resize = -1
	return b
}

// constant appends a field that comes again.
func (e *encoder) constant(b []byte, name, value string) []byte {
	f := field{name, value}
	if n, ok := e.known[f]; ok {
		return appendInt(append(b, 0x80), 7, staticEntries+e.added-n+1)
	}
	size := len(name) + len(value) + 32
	if size > e.room {
		return e.once(b, name, value)
	}
	e.room -= size
	e.added++
	e.known[f] = e.added
	clear(e.blocks)
	return appendString(appendString(append(b, 0x40), name), value)
}

// once appends a field that is not worth remembering.
func (e *encoder) once(b []byte, name, value string) []byte {
	return appendString(appendString(append(b, 0), name), value)
}

// secret appends a field that nobody on the way may remember.
func (e *encoder) secret(b []byte, name, value string) []byte {
	return appendString(appendString(append(b, 0x10), name), value)
}

// Of the static table.
const (
	indexPost     = 0x80 | 3
	indexHTTP     = 0x80 | 6
	indexStatus   = 0x80 | 8
	staticEntries = 61
)

func appendString(b []byte, s string) []byte {
	return append(appendInt(append(b, 0), 7, len(s)), s...)
}

// appendInt adds n to the last byte of b, of which so many bits are free.
func appendInt(b []byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		b[len(b)-1] |= byte(n)
		return b
	}
	b[len(b)-1] |= byte(most)
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
