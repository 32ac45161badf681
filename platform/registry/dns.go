package registry

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/cleave-go/cleave/discovery"
)

// Zone answers DNS questions about a store:
//
//	kitchen.svc.cleave             A: the virtual address, which never changes (or, where there is none, live instances)
//	_http._tcp.kitchen.svc.cleave  SRV: the live instances with their ports
//	kitchen.inst.cleave            A: the live instances
//	k1.kitchen.inst.cleave         A: one instance
//
// Names that exist have no AAAA records, which is said as "no data", never as "no such name": resolvers
// that ask for both would otherwise give up on the name.
type Zone struct {
	s      *Store
	suffix string // "cleave."
}

// NewZone returns the zone of a domain, such as "cleave".
func NewZone(s *Store, domain string) (*Zone, error) {
	_, err := dnsmessage.NewName("hostmaster." + domain + ".")
	if err != nil || strings.Trim(domain, ".") != domain || strings.Contains(domain, "..") || domain == "" {
		return nil, fmt.Errorf("domain %q: want a domain name without dots at its ends", domain)
	}
	return &Zone{s, strings.ToLower(domain) + "."}, nil
}

const (
	ttl    = 1    // seconds; also of negative answers
	maxUDP = 1232 // what passes everywhere without fragments
	maxA   = 8    // addresses of one answer, by chance when there are more
	maxSRV = 500  // instances of one SRV answer
)

// reply is what will be answered to one question.
type reply struct {
	rcode       dnsmessage.RCode
	answers     []dnsmessage.Resource
	additionals []dnsmessage.Resource
	negative    bool // with the zone's SOA
}

// Answer returns the response to a request, or nil when it deserves none: what cannot be read, and what is
// a response itself.
func (z *Zone) Answer(request []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(request)
	if err != nil || h.Response {
		return nil
	}
	out := dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired}
	if h.OpCode != 0 {
		out.RCode = dnsmessage.RCodeNotImplemented
		return pack(out, nil, reply{}, nil, 512)
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		out.RCode = dnsmessage.RCodeFormatError
		return pack(out, nil, reply{}, nil, 512)
	}
	limit, edns, rcode := options(&p, tcp)
	if rcode != dnsmessage.RCodeSuccess {
		out.RCode = rcode & 0xf
		return pack(out, questions, reply{}, edns, limit)
	}
	r := z.resolve(questions[0])
	out.RCode = r.rcode
	out.Authoritative = r.rcode != dnsmessage.RCodeRefused
	var authorities []dnsmessage.Resource
	if r.negative {
		authorities = append(authorities, z.soa())
	}
	return pack(out, questions, r, edns, limit, authorities...)
}

// badVersion is the extended code for an EDNS version nobody knows yet.
const badVersion dnsmessage.RCode = 16

// options reads the EDNS record: how long a response may be and what to say of ourselves.
func options(p *dnsmessage.Parser, tcp bool) (limit int, edns *dnsmessage.Resource, rcode dnsmessage.RCode) {
	limit = 512
	if tcp {
		limit = 65535
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return limit, nil, dnsmessage.RCodeFormatError
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return limit, edns, rcode
		}
		if err != nil {
			return limit, nil, dnsmessage.RCodeFormatError
		}
		if h.Type == dnsmessage.TypeOPT {
			if edns != nil {
				return limit, nil, dnsmessage.RCodeFormatError // two of them
			}
			if h.TTL>>16&0xff != 0 {
				rcode = badVersion
			}
			if !tcp {
				limit = min(max(int(h.Class), 512), maxUDP)
			}
			edns = &dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
			edns.Header.SetEDNS0(maxUDP, rcode, false)
		}
		if err := p.SkipAdditional(); err != nil {
			return limit, nil, dnsmessage.RCodeFormatError
		}
	}
}

// resolve looks a question up. The case of the name does not matter and comes back as it was asked.
func (z *Zone) resolve(q dnsmessage.Question) reply {
	name := strings.ToLower(q.Name.String())
	rest, ok := strings.CutSuffix(name, z.suffix)
	if q.Class != dnsmessage.ClassINET || !ok || rest != "" && !strings.HasSuffix(rest, ".") {
		return reply{rcode: dnsmessage.RCodeRefused}
	}
	labels := strings.Split(strings.TrimSuffix(rest, "."), ".")
	slices.Reverse(labels) // "svc", "kitchen", "_tcp", "_http"
	switch {
	case rest == "" && q.Type == dnsmessage.TypeSOA:
		return reply{answers: []dnsmessage.Resource{z.soa()}}
	case rest == "" || len(labels) == 1 && (labels[0] == "svc" || labels[0] == "inst"):
		return reply{negative: true} // the name exists only because others lie below it
	case len(labels) < 2 || labels[0] != "svc" && labels[0] != "inst":
		return reply{rcode: dnsmessage.RCodeNameError, negative: true}
	}
	snapshot, known := z.s.Snapshot(labels[1])
	if !known {
		return reply{rcode: dnsmessage.RCodeNameError, negative: true}
	}
	switch kind, below := labels[0], labels[2:]; {
	case len(below) == 0 && kind == "svc" && snapshot.VIP != "":
		return addresses(q, []string{snapshot.VIP})
	case len(below) == 0:
		return addresses(q, addrs(choose(snapshot.Live(), maxA)))
	case kind == "svc" && len(below) == 1 && below[0] == "_tcp":
		return reply{negative: true}
	case kind == "svc" && len(below) == 2 && below[0] == "_tcp" && strings.HasPrefix(below[1], "_"):
		return z.services(q, choose(snapshot.Live(), maxSRV))
	case kind == "inst" && len(below) == 1:
		for _, in := range snapshot.Instances {
			if strings.EqualFold(in.ID, below[0]) {
				return addresses(q, []string{in.Addr})
			}
		}
	}
	return reply{rcode: dnsmessage.RCodeNameError, negative: true}
}

// choose returns up to n of the instances in the order of chance.
func choose(all []discovery.Instance, n int) []discovery.Instance {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

func addrs(instances []discovery.Instance) []string {
	list := make([]string, len(instances))
	for i, in := range instances {
		list[i] = in.Addr
	}
	return list
}

// addresses answers A with the IPv4 addresses of the host:port list and everything else with no data.
func addresses(q dnsmessage.Question, list []string) reply {
	var r reply
	seen := map[netip.Addr]bool{}
	for _, addr := range list {
		if a, ok := record4(q.Name, addr); ok && q.Type == dnsmessage.TypeA {
			if ip := netip.AddrFrom4(a.Body.(*dnsmessage.AResource).A); !seen[ip] {
				seen[ip] = true
				r.answers = append(r.answers, a)
			}
		}
	}
	r.negative = len(r.answers) == 0
	return r
}

func record4(name dnsmessage.Name, addr string) (dnsmessage.Resource, bool) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().Unmap().Is4() {
		return dnsmessage.Resource{}, false
	}
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeA, TTL: ttl},
		Body:   &dnsmessage.AResource{A: at.Addr().Unmap().As4()},
	}, true
}

// services answers SRV with the instances, and adds their addresses.
func (z *Zone) services(q dnsmessage.Question, live []discovery.Instance) reply {
	var r reply
	for _, in := range live {
		target, err := dnsmessage.NewName(strings.ToLower(in.ID) + "." + in.Service + ".inst." + z.suffix)
		at, perr := netip.ParseAddrPort(in.Addr)
		if err != nil || perr != nil || q.Type != dnsmessage.TypeSRV {
			continue
		}
		weight := in.Weight
		if weight == 0 {
			weight = discovery.DefaultWeight
		}
		r.answers = append(r.answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeSRV, TTL: ttl},
			Body:   &dnsmessage.SRVResource{Priority: 0, Weight: uint16(weight), Port: at.Port(), Target: target},
		})
		if a, ok := record4(target, in.Addr); ok {
			r.additionals = append(r.additionals, a)
		}
	}
	r.negative = len(r.answers) == 0
	return r
}

func (z *Zone) soa() dnsmessage.Resource {
	name := func(s string) dnsmessage.Name { return dnsmessage.MustNewName(s + z.suffix) } // the suffix was checked
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name(""), Class: dnsmessage.ClassINET, Type: dnsmessage.TypeSOA, TTL: ttl},
		Body: &dnsmessage.SOAResource{
			NS: name("ns."), MBox: name("hostmaster."), Serial: 1, Refresh: 60, Retry: 10, Expire: 600, MinTTL: ttl,
		},
	}
}

// pack encodes a response. One that is too long loses its additional records first, and then says so
// without any, so that the client asks again over TCP.
func pack(h dnsmessage.Header, questions []dnsmessage.Question, r reply, edns *dnsmessage.Resource, limit int, authorities ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{Header: h, Questions: questions, Answers: r.answers, Authorities: authorities}
	for _, extra := range [][]dnsmessage.Resource{r.additionals, nil} {
		m.Additionals = extra
		if edns != nil {
			m.Additionals = append(slices.Clone(extra), *edns)
		}
		if out, err := m.Pack(); err == nil && len(out) <= limit {
			return out
		}
	}
	m.Header.Truncated, m.Answers, m.Authorities = true, nil, nil
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
