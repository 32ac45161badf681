package grpcwire

import (
	"encoding/base64"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
)

// canonical are the names that calls often bring, as connect.Header has them.
var canonical = map[string]string{}

func init() {
	for _, name := range []string{"Authorization", "Traceparent", "Tracestate", "Baggage", "User-Agent", "Content-Type",
		"Grpc-Timeout", "Grpc-Accept-Encoding", "Grpc-Encoding", "Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin",
		"Te", "Cleave-Correlation", "Cleave-Consistency", "Rpi-Attempt"} {
		canonical[strings.ToLower(name)] = name
	}
}

// addField puts a field of a block into h.
func addField(h *connect.Header, name, value string) {
	key, ok := canonical[name]
	if !ok {
		key = textproto.CanonicalMIMEHeaderKey(name)
	}
	if h.Has(key) {
		h.Add(key, value)
		return
	}
	h.SetValues(key, []string{value})
}

// validField says whether a field that is no pseudo-header may stand in a block.
func validField(name, value string) bool {
	switch name {
	case "", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	}
	return validName(name) && validValue(value)
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '-' {
			continue
		}
		if !strings.ContainsRune("!#$%&'*+.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

func validValue(v string) bool {
	for i := range len(v) {
		if (v[i] < ' ' && v[i] != '\t') || v[i] == 0x7f {
			return false
		}
	}
	return true
}

// reserved says whether the wire itself has the say over a header.
func reserved(key string) bool {
	switch key {
	case "Content-Type", "Te", "Grpc-Timeout", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Status", "Grpc-Message",
		"Grpc-Status-Details-Bin", "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade",
		"Host", "Content-Length", "Trailer":
		return true
	}
	return strings.HasPrefix(key, ":")
}

// appendHeader adds what a caller or a handler has set.
func (e *encoder) appendHeader(b []byte, h *connect.Header) []byte {
	if h.Len() == 0 {
		return b
	}
	for key, values := range h.All() {
		if reserved(key) {
			continue
		}
		name := strings.ToLower(key)
		if !validName(name) {
			continue
		}
		for _, v := range values {
			switch {
			case !validValue(v):
			case name == "authorization" || name == "cookie":
				b = e.secret(b, name, v)
			default:
				b = e.once(b, name, v)
			}
		}
	}
	return b
}

// checkHeader refuses what cannot be sent.
func checkHeader(h *connect.Header) error {
	for key, values := range h.All() {
		for _, v := range values {
			if !validValue(v) {
				err := fmt.Errorf("grpcwire: invalid header field value for %q", key)
				return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(err)
			}
		}
	}
	if sizeOf(h) > maxSent {
		return connect.NewError(connect.CodeResourceExhausted, "request headers too large")
	}
	return nil
}

// maxSent bounds what is sent in one block of headers beside what the wire
// itself adds. A peer of ours ends the connection, with all its calls, for a block
// that is much longer than it takes.
const maxSent = maxHeaders - 4<<10

// sizeOf is the size of h as SETTINGS_MAX_HEADER_LIST_SIZE counts.
func sizeOf(h *connect.Header) int {
	n := 0
	if h.Len() == 0 {
		return n
	}
	for key, values := range h.All() {
		for _, v := range values {
			n += fieldSize(key, v)
		}
	}
	return n
}

func fieldSize(name, value string) int { return len(name) + len(value) + 32 }

// Timeouts: at most 8 digits and a unit.
var units = []struct {
	letter byte
	unit   time.Duration
}{{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond}, {'S', time.Second}, {'M', time.Minute}, {'H', time.Hour}}

func appendTimeout(b []byte, d time.Duration) []byte {
	if d <= 0 {
		return append(b, "0n"...)
	}
	for _, u := range units {
		if n := int64(d / u.unit); n < 1e8 {
			return append(strconv.AppendInt(b, n, 10), u.letter)
		}
	}
	return append(b, "99999999H"...)
}

// parseTimeout returns false for what is no timeout. One too long to matter is
// 0, true.
func parseTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var n int64
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	for _, u := range units {
		if u.letter == s[len(s)-1] {
			if u.unit == time.Hour && n > 1<<20 {
				return 0, true
			}
			return max(time.Duration(n)*u.unit, 1), true
		}
	}
	return 0, false
}

const hexDigits = "0123456789ABCDEF"

// escape is how grpc-message carries text.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape leaves alone what is not escaped properly.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), string(utf8.RuneError))
}

func encodeBinary(data []byte) string { return base64.RawStdEncoding.EncodeToString(data) }
