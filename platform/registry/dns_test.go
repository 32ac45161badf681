package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
)

// dnsStore holds: kitchen with a virtual address, two live instances, one draining and one on IPv6;
// idle with a virtual address and none; crowd with 40 instances and no virtual address.
func dnsStore(t testing.TB) *registry.Store {
	t.Helper()
	vips := map[string]string{"kitchen": "127.77.1.2:80", "idle": "127.77.1.3:7070"}
	s := registry.NewStore(&registry.StoreOptions{Bind: func(service string) (string, string) { return vips[service], "" }})
	add := func(in discovery.Instance) {
		if _, err := s.Register(registry.Registration{Instance: in}); err != nil {
			t.Fatal(err)
		}
	}
	add(discovery.Instance{Service: "kitchen", ID: "K1", Addr: "127.0.0.1:7001"})
	add(discovery.Instance{Service: "kitchen", ID: "k2", Addr: "127.0.0.2:7002", Weight: 10})
	add(discovery.Instance{Service: "kitchen", ID: "k3", Addr: "127.0.0.3:7003", Status: discovery.Draining})
	add(discovery.Instance{Service: "kitchen", ID: "k6", Addr: "[::1]:7006", Status: discovery.Draining})
	add(discovery.Instance{Service: "idle", ID: "i1", Addr: "127.0.0.1:7001"})
	s.Deregister(registry.Key{Service: "idle", ID: "i1"})
	for i := range 40 {
		add(discovery.Instance{Service: "crowd", ID: fmt.Sprintf("instance-number-%02d", i), Addr: fmt.Sprintf("127.0.1.%d:80", i)})
	}
	return s
}

func dnsZone(t testing.TB) *registry.Zone {
	t.Helper()
	z, err := registry.NewZone(dnsStore(t), "cleave")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func question(name string, kind dnsmessage.Type, more ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: more,
	}
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

func ednsOf(size int, version uint32) dnsmessage.Resource {
	r := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	r.Header.SetEDNS0(size, dnsmessage.RCodeSuccess, false)
	r.Header.TTL |= version << 16
	return r
}

// show puts a response into one line: its code, its records in order, "soa" when it is a negative one.
func show(t *testing.T, response []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(response); err != nil {
		t.Fatalf("the response cannot be read: %v", err)
	}
	var parts []string
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			parts = append(parts, fmt.Sprintf("%d.%d.%d.%d", b.A[0], b.A[1], b.A[2], b.A[3]))
		case *dnsmessage.SRVResource:
			parts = append(parts, fmt.Sprintf("%d %d %s", b.Weight, b.Port, b.Target))
		case *dnsmessage.SOAResource:
			parts = append(parts, "SOA "+r.Header.Name.String())
		}
	}
	slices.Sort(parts)
	for _, r := range m.Authorities {
		if r.Header.Type == dnsmessage.TypeSOA && r.Header.Name.String() == "cleave." {
			parts = append(parts, "soa")
		}
	}
	if m.Truncated {
		parts = append(parts, "truncated")
	}
	code := strings.TrimPrefix(m.RCode.GoString(), "dnsmessage.RCode")
	return strings.TrimSpace(code + " " + strings.Join(parts, ", "))
}

func TestNamesAnswerAsPromised(t *testing.T) {
	const a, aaaa, srv, any = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeSRV, dnsmessage.TypeALL
	tests := []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"kitchen.svc.cleave.", a, "Success 127.77.1.2"},
		{"KitCHen.SVC.cleave.", a, "Success 127.77.1.2"},
		{"kitchen.svc.cleave.", aaaa, "Success soa"},
		{"kitchen.svc.cleave.", dnsmessage.TypeTXT, "Success soa"},
		{"kitchen.svc.cleave.", dnsmessage.TypeHTTPS, "Success soa"},
		{"kitchen.svc.cleave.", any, "Success soa"},
		{"idle.svc.cleave.", a, "Success 127.77.1.3"},
		{"unknown.svc.cleave.", a, "NameError soa"},
		{"unknown.svc.cleave.", aaaa, "NameError soa"},
		{"below.kitchen.svc.cleave.", a, "NameError soa"},
		{"kitchen.inst.cleave.", a, "Success 127.0.0.1, 127.0.0.2"},
		{"kitchen.inst.cleave.", aaaa, "Success soa"},
		{"idle.inst.cleave.", a, "Success soa"},
		{"k1.kitchen.inst.cleave.", a, "Success 127.0.0.1"},
		{"k3.kitchen.inst.cleave.", a, "Success 127.0.0.3"}, // draining, but there
		{"k6.kitchen.inst.cleave.", a, "Success soa"},       // IPv6 only
		{"k9.kitchen.inst.cleave.", a, "NameError soa"},
		{"x.k1.kitchen.inst.cleave.", a, "NameError soa"},
		{"_http._tcp.kitchen.svc.cleave.", srv, "Success 10 7002 k2.kitchen.inst.cleave., 100 7001 k1.kitchen.inst.cleave."},
		{"_grpc._tcp.kitchen.svc.cleave.", srv, "Success 10 7002 k2.kitchen.inst.cleave., 100 7001 k1.kitchen.inst.cleave."},
		{"_http._tcp.kitchen.svc.cleave.", a, "Success soa"},
		{"_http._tcp.idle.svc.cleave.", srv, "Success soa"},
		{"_http._udp.kitchen.svc.cleave.", srv, "NameError soa"},
		{"_http._tcp.unknown.svc.cleave.", srv, "NameError soa"},
		{"_tcp.kitchen.svc.cleave.", srv, "Success soa"},
		{"svc.cleave.", a, "Success soa"},
		{"inst.cleave.", a, "Success soa"},
		{"other.cleave.", a, "NameError soa"},
		{"cleave.", a, "Success soa"},
		{"cleave.", dnsmessage.TypeSOA, "Success SOA cleave."},
		{"example.org.", a, "Refused"},
		{"notcleave.", a, "Refused"},
		{".", a, "Refused"},
	}
	z := dnsZone(t)
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.kind.String(), func(t *testing.T) {
			out := z.Answer(question(tt.name, tt.kind), false)
			if got := show(t, out); got != tt.want {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
			var m dnsmessage.Message
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if m.ID != 4711 || !m.Response || !m.RecursionDesired || m.RecursionAvailable {
				t.Errorf("header %+v", m.Header)
			}
			if m.Authoritative != (m.RCode != dnsmessage.RCodeRefused) {
				t.Errorf("authoritative = %v with %v", m.Authoritative, m.RCode)
			}
			if q := m.Questions[0]; q.Name.String() != tt.name {
				t.Errorf("the question came back as %q", q.Name)
			}
			for _, r := range m.Answers {
				if r.Header.Name.String() != tt.name || r.Header.TTL != 1 {
					t.Errorf("record of %q with TTL %d, want %q as it was asked, and 1", r.Header.Name, r.Header.TTL, tt.name)
				}
			}
		})
	}
}

func TestAServiceAnswerBringsTheAddressesAlong(t *testing.T) {
	var m dnsmessage.Message
	if err := m.Unpack(dnsZone(t).Answer(question("_http._tcp.kitchen.svc.cleave.", dnsmessage.TypeSRV), false)); err != nil {
		t.Fatal(err)
	}
	got := map[string][4]byte{}
	for _, r := range m.Additionals {
		got[r.Header.Name.String()] = r.Body.(*dnsmessage.AResource).A
	}
	want := map[string][4]byte{"k1.kitchen.inst.cleave.": {127, 0, 0, 1}, "k2.kitchen.inst.cleave.": {127, 0, 0, 2}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("additional addresses %v, want %v", got, want)
	}
}

func TestAnAnswerTooLongForUDPIsTruncatedAndWholeOverTCP(t *testing.T) {
	tests := []struct {
		name    string
		request []byte
		limit   int
	}{
		{"without EDNS", question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV), 512},
		{"with EDNS", question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV, ednsOf(1000, 0)), 1000},
		{"with a boast", question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV, ednsOf(65000, 0)), 1232},
		{"with false modesty", question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV, ednsOf(1, 0)), 512},
	}
	z := dnsZone(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := z.Answer(tt.request, false)
			if got := show(t, out); got != "Success truncated" || len(out) > tt.limit {
				t.Errorf("over UDP %q in %d bytes, want it truncated in at most %d", got, len(out), tt.limit)
			}
			var m dnsmessage.Message
			if err := m.Unpack(z.Answer(tt.request, true)); err != nil || m.Truncated || len(m.Answers) != 40 {
				t.Errorf("over TCP %d records, truncated %v, %v; want all 40", len(m.Answers), m.Truncated, err)
			}
		})
	}
	if got := show(t, z.Answer(question("crowd.svc.cleave.", dnsmessage.TypeA), false)); strings.Count(got, "127.0.1.") != 8 {
		t.Errorf("addresses of many: %q, want 8 of them", got)
	}
}

func TestEDNSIsAnsweredWithEDNS(t *testing.T) {
	tests := []struct {
		name string
		edns []dnsmessage.Resource
		opts int
		code dnsmessage.RCode
	}{
		{"none asked, none sent", nil, 0, dnsmessage.RCodeSuccess},
		{"version 0", []dnsmessage.Resource{ednsOf(1232, 0)}, 1, dnsmessage.RCodeSuccess},
		{"a version of the future", []dnsmessage.Resource{ednsOf(1232, 1)}, 1, 16},
		{"two of them", []dnsmessage.Resource{ednsOf(1232, 0), ednsOf(1232, 0)}, 0, dnsmessage.RCodeFormatError},
	}
	z := dnsZone(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m dnsmessage.Message
			if err := m.Unpack(z.Answer(question("kitchen.svc.cleave.", dnsmessage.TypeA, tt.edns...), false)); err != nil {
				t.Fatal(err)
			}
			n, code := 0, m.RCode
			for _, r := range m.Additionals {
				if r.Header.Type == dnsmessage.TypeOPT {
					n++
					code = r.Header.ExtendedRCode(m.RCode)
				}
			}
			if n != tt.opts || code != tt.code {
				t.Errorf("%d EDNS records and code %d, want %d and %d", n, code, tt.opts, tt.code)
			}
		})
	}
}

func TestWhatIsNoQuestionIsTurnedAway(t *testing.T) {
	change := func(f func(m *dnsmessage.Message)) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(question("kitchen.svc.cleave.", dnsmessage.TypeA)); err != nil {
			t.Fatal(err)
		}
		f(&m)
		out, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tests := []struct {
		name    string
		request []byte
		want    string // empty: no answer
	}{
		{"nothing", nil, ""},
		{"half a header", []byte{1, 2, 3, 4, 5}, ""},
		{"a response", change(func(m *dnsmessage.Message) { m.Response = true }), ""},
		{"an update", change(func(m *dnsmessage.Message) { m.OpCode = 5 }), "NotImplemented"},
		{"no question", change(func(m *dnsmessage.Message) { m.Questions = nil }), "FormatError"},
		{"two questions", change(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), "FormatError"},
		{"another class", change(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), "Refused"},
		{"a cut question", question("kitchen.svc.cleave.", dnsmessage.TypeA)[:20], "FormatError"},
	}
	z := dnsZone(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := z.Answer(tt.request, false)
			if tt.want == "" {
				if out != nil {
					t.Errorf("answered %x, want silence", out)
				}
				return
			}
			if got := show(t, out); got != tt.want {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
		})
	}
}

func TestADomainIsChecked(t *testing.T) {
	for _, domain := range []string{"", ".", "a.", ".a", "a..b", strings.Repeat("x", 300)} {
		if _, err := registry.NewZone(newStore(&probed{}), domain); err == nil {
			t.Errorf("domain %q was accepted", domain)
		}
	}
	z, err := registry.NewZone(dnsStore(t), "Lab.Example")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(t, z.Answer(question("kitchen.svc.lab.example.", dnsmessage.TypeA), false)); got != "Success 127.77.1.2" {
		t.Errorf("in another domain: %q", got)
	}
}

func FuzzAnswer(f *testing.F) {
	z := dnsZone(f)
	f.Add(question("kitchen.svc.cleave.", dnsmessage.TypeA), false)
	f.Add(question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV, ednsOf(900, 0)), false)
	f.Add(question("_http._tcp.crowd.svc.cleave.", dnsmessage.TypeSRV), true)
	f.Add(question("cleave.", dnsmessage.TypeSOA), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, request []byte, tcp bool) {
		out := z.Answer(request, tcp)
		if out == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil {
			t.Fatalf("the answer to %x cannot be read: %v", request, err)
		}
		if !m.Response || m.ID != uint16(request[0])<<8|uint16(request[1]) {
			t.Errorf("header %+v of the answer to %x", m.Header, request)
		}
		if !tcp && len(out) > 1232 {
			t.Errorf("%d bytes over UDP", len(out))
		}
		if again := z.Answer(out, tcp); again != nil {
			t.Error("an answer was answered: two servers could talk for ever")
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	z := dnsZone(b)
	q := question("kitchen.svc.cleave.", dnsmessage.TypeA)
	b.ReportAllocs()
	for b.Loop() {
		z.Answer(q, false)
	}
}
