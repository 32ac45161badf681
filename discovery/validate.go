package discovery

import (
	"fmt"
	"net/netip"
)

// Bounds of what may be registered.
const (
	maxName = 63
	maxMeta = 4 << 10
)

// Validate says what keeps the instance from being registered, if anything: Service is a DNS label in
// lower case; ID is of letters, digits, hyphens and underscores, at most 63; Addr is an IP address and a
// port; Version is at most 255 bytes; Weight is not negative and at most 10,000; Meta is at most 4 KiB.
func (in Instance) Validate() error {
	if err := ValidateService(in.Service); err != nil {
		return err
	}
	if !label(in.ID, true) {
		return fmt.Errorf("instance id %q: want 1 to %d letters, digits, hyphens or underscores", clip(in.ID), maxName)
	}
	addr, err := netip.ParseAddrPort(in.Addr)
	if err != nil || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return fmt.Errorf("instance address %q: want the IP address and port that clients connect to", clip(in.Addr))
	}
	if in.Weight < 0 || in.Weight > 10_000 {
		return fmt.Errorf("instance weight %d: want 0 to 10,000", in.Weight)
	}
	if len(in.Version) > 255 {
		return fmt.Errorf("instance version of %d bytes: want at most 255", len(in.Version))
	}
	size := 0
	for k, v := range in.Meta {
		size += len(k) + len(v)
	}
	if size > maxMeta {
		return fmt.Errorf("instance metadata of %d bytes: want at most %d", size, maxMeta)
	}
	return nil
}

// ValidateService says whether name can be the name of a service: a DNS label in lower case, 1 to 63 of
// a-z, 0-9 and hyphen, with neither end a hyphen.
func ValidateService(name string) error {
	if !label(name, false) || name[0] == '-' || name[len(name)-1] == '-' {
		return fmt.Errorf("service name %q: want 1 to %d of a-z, 0-9 and hyphen, no hyphen at the ends", clip(name), maxName)
	}
	return nil
}

func label(s string, wide bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		case wide && (c >= 'A' && c <= 'Z' || c == '_'):
		default:
			return false
		}
	}
	return true
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
