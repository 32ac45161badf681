package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// ID is a UUIDv7: a CloudEvents "id", ascending in the process that made it.
type ID [16]byte

// lastStamp is the highest stamp given out: milliseconds since 1970 in the
// upper 52 bits, a fraction of the millisecond in the lower 12.
var lastStamp atomic.Uint64

// NewID returns an ID above all that this process made before, even if the
// clock was set back.
func NewID() ID {
	now := time.Now()
	stamp := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	for {
		last := lastStamp.Load()
		stamp = max(stamp, last+1)
		if lastStamp.CompareAndSwap(last, stamp) {
			break
		}
	}
	var id ID
	binary.BigEndian.PutUint64(id[:8], stamp>>12<<16|0x7000|stamp&0xfff)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()>>2|1<<63)
	return id
}

// DeriveID returns the n-th ID that belongs to namespace: always the same, so a
// repeated command makes events with the same IDs. It is a UUIDv8.
func DeriveID(namespace string, n int) ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(namespace), uint64(n)))
	var id ID
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads the 36 characters that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, idError(s)
	}
	at := 0
	for _, part := range []string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		n, err := hex.Decode(id[at:], []byte(part))
		if err != nil {
			return ID{}, idError(s)
		}
		at += n
	}
	return id, nil
}

func idError(s string) error {
	if len(s) > 64 {
		return errors.New("event: an ID has 36 characters, this has more than 64")
	}
	return fmt.Errorf("event: %q is no ID: want the form 01890a5d-ac96-774b-bcce-b302099a8057", s)
}

// IsZero reports whether the ID was never set.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the usual 36 characters in lower case.
func (id ID) String() string {
	var b [36]byte
	id.encode(&b)
	return string(b[:])
}

func (id ID) encode(b *[36]byte) {
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
}

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) {
	var b [36]byte
	id.encode(&b)
	return b[:], nil
}

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
