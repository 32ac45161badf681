package cloudevents

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// SetHeaders gives set the headers of binary mode: content-type and, for each
// other attribute, its name with "ce-" in front. The body is the record's Data. For
// HTTP, set is the header's Set.
func SetHeaders(e Event, set func(name, value string)) error {
	attributes, err := e.attributes()
	if err != nil {
		return err
	}
	for name, value := range attributes {
		if name == headers[datacontenttype] {
			name = "content-type"
		}
		set(name, escape(value))
	}
	return nil
}

// FromHeaders reads binary mode: headers as SetHeaders writes them, their names
// in any case, and the body.
func FromHeaders(h map[string][]string, body []byte) (Event, error) {
	var a attributes
	for k, v := range h {
		if len(v) == 0 || len(k) <= len(prefix) {
			continue
		}
		if strings.EqualFold(k, "content-type") && a.known[datacontenttype] == "" {
			a.known[datacontenttype] = unescape(v[0])
		}
		if !strings.EqualFold(k[:len(prefix)], prefix) {
			continue
		}
		if err := a.set(strings.ToLower(k[len(prefix):]), unescape(v[0])); err != nil {
			return Event{}, err
		}
	}
	return read(&a, body)
}

// ErrMode says that a message is no CloudEvent in a mode that is read.
var ErrMode = errors.New("cloudevents: neither binary nor structured mode as JSON")

// Read reads the body of an HTTP message in either mode.
func Read(h http.Header, body []byte) (Event, error) {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case media == ContentType:
		return Unmarshal(body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return Event{}, fmt.Errorf("%w: the content type is %q", ErrMode, media)
	case h.Get("Ce-Specversion") == "":
		return Event{}, fmt.Errorf("%w: there is no header ce-specversion", ErrMode)
	}
	return FromHeaders(h, body)
}

// escape percent-encodes what CloudEvents does not want in a header.
func escape(s string) string {
	start := 0
	for start < len(s) && !odd(s[start]) {
		start++
	}
	if start == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:start])
	for i := start; i < len(s); i++ {
		if odd(s[i]) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func odd(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// unescape takes quotes off and leaves what is not percent-encoded as it is.
func unescape(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(s)-1; i++ {
			if s[i] == '\\' && i+1 < len(s)-1 {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	if !strings.Contains(s, "%") {
		return s
	}
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
