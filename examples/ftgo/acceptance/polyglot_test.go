package acceptance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// The ratings service is written in Python and knows nothing of Cleave: cleave.yaml names it, no more.
func TestAServiceInAnotherLanguageTakesPart(t *testing.T) {
	s := start(t, "services")
	registry, err := discovery.NewClient(s.registryURL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ratings discovery.Snapshot
	within(t, 10*time.Second, "ratings is registered", func() bool {
		ratings = listed(t, registry, "ratings")
		return len(ratings.Instances) == 1
	})
	in := ratings.Instances[0]
	if in.ID != "ratings-1" || in.Status != discovery.Up || in.Addr != s.instances(t, "ratings")[0].Address {
		t.Errorf("registered as %+v", in)
	}

	t.Run("by its names", func(t *testing.T) { named(t, s, ratings) })
	t.Run("by its virtual address", func(t *testing.T) { rated(t, "http://"+ratings.VIP) })
	t.Run("from Go", func(t *testing.T) {
		b := balanced(t, registry, "ratings")
		for range 20 {
			picked, err := b.Pick()
			if err != nil {
				t.Fatal(err)
			}
			rated(t, "http://"+picked.Instance.Addr)
			picked.Done(nil)
		}
	})
	t.Run("with two instances", func(t *testing.T) {
		s.must(t, "scale", "ratings", "2")
		b, used := balanced(t, registry, "ratings"), map[string]bool{}
		within(t, 5*time.Second, "both are called", func() bool {
			picked, err := b.Pick()
			if err != nil {
				return false
			}
			rated(t, "http://"+picked.Instance.Addr)
			picked.Done(nil)
			used[picked.Instance.ID] = true
			return len(used) == 2
		})
		s.must(t, "scale", "ratings", "1")
		if left := listed(t, registry, "ratings"); len(left.Instances) != 1 {
			t.Errorf("registered are %+v", left.Instances)
		}
	})
	t.Run("after its death", func(t *testing.T) { revived(t, s, registry, ratings) })
}

// listed returns what the registry lists of a service.
func listed(t *testing.T, registry *discovery.Client, service string) discovery.Snapshot {
	t.Helper()
	all, err := registry.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Service == service {
			return s
		}
	}
	return discovery.Snapshot{Service: service}
}

// named asks the system's own DNS for everything that stands for the service.
func named(t *testing.T, s *system, ratings discovery.Snapshot) {
	in := ratings.Instances[0]
	ip, port, err := net.SplitHostPort(in.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dns := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.dnsAddr)
	}}
	vip := netip.MustParseAddrPort(ratings.VIP)
	for name, want := range map[string]string{
		"ratings.svc.cleave.":             vip.Addr().String(),
		"ratings.inst.cleave.":            ip,
		in.ID + ".ratings.inst.cleave.":   ip,
		"_http._tcp.ratings.svc.cleave.":  "", // has only a SRV record
		"nobody.svc.cleave.":              "",
		in.ID + "0.ratings.inst.cleave.":  "",
		in.ID + ".webbff.inst.cleave.":    "",
		"Ratings.SVC.cleave.":             vip.Addr().String(),
		"ratings.svc.cleave.example.com.": "",
	} {
		got, err := dns.LookupHost(t.Context(), name)
		if want == "" && err == nil || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %v (%v), want %q", name, got, err, want)
		}
	}
	_, records, err := dns.LookupSRV(t.Context(), "http", "tcp", "ratings.svc.cleave.")
	if err != nil || len(records) != 1 || strconv.Itoa(int(records[0].Port)) != port || records[0].Target != in.ID+".ratings.inst.cleave." {
		t.Errorf("the SRV records are %v (%v), want port %s of %s", records, err, port, in.ID)
	}

	// The name and the port are all that a program needs.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{Resolver: dns}).DialContext,
	}}
	ratedVia(t, client, fmt.Sprintf("http://ratings.svc.cleave:%d", vip.Port()))
	t.Logf("ratings.svc.cleave is %s %s", ratings.VIP, ratings.VIPNote)
}

// balanced returns a balancer that follows the registry.
func balanced(t *testing.T, registry discovery.Resolver, service string) *discovery.Balancer {
	t.Helper()
	b := discovery.NewBalancer(nil)
	ctx, cancel := context.WithCancel(t.Context())
	known, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		first := true
		for snapshot, err := range registry.Watch(ctx, service) {
			if err != nil {
				continue
			}
			b.Update(snapshot)
			if first {
				first = false
				close(known)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-known
	return b
}

// revived kills the service and waits until all ways lead to it again.
func revived(t *testing.T, s *system, registry *discovery.Client, before discovery.Snapshot) {
	old := s.instances(t, "ratings")[0].PID
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	within(t, 10*time.Second, "ratings answers at its virtual address again", func() bool {
		res, err := oneShot.Get("http://" + before.VIP + "/health")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
	if now := s.instances(t, "ratings")[0]; now.PID == old || now.PID == 0 || now.Restarts != 1 {
		t.Errorf("status shows %+v", now)
	}
	within(t, 5*time.Second, "ratings is registered again", func() bool {
		after := listed(t, registry, "ratings")
		return after.VIP == before.VIP && len(after.Instances) == 1 && after.Instances[0].Status == discovery.Up
	})
	picked, err := balanced(t, registry, "ratings").Pick()
	if err != nil {
		t.Fatal(err)
	}
	rated(t, "http://"+picked.Instance.Addr)
}

var oneShot = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// rated fails the test unless the service answers there.
func rated(t *testing.T, url string) {
	t.Helper()
	ratedVia(t, oneShot, url)
}

func ratedVia(t *testing.T, c *http.Client, url string) {
	t.Helper()
	res, err := c.Get(url + "/ratings/ajanta")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var rating struct {
		Restaurant string
		Stars      int
	}
	if err := json.Unmarshal(text, &rating); err != nil || rating.Restaurant != "ajanta" || rating.Stars < 1 || rating.Stars > 5 {
		t.Errorf("%s says %s (%v)", url, text, err)
	}
}
