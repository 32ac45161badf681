package discoverytest_test

import (
	"testing"
	"testing/synctest"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
)

func TestAWatcherSeesTheFirstStateAndEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r discoverytest.Resolver
		sizes := make(chan int, 10)
		go func() {
			for s, err := range r.Watch(t.Context(), "kitchen") {
				if err != nil {
					t.Error(err)
				}
				sizes <- len(s.Live())
			}
		}()
		synctest.Wait()
		r.Set("kitchen", discovery.Instance{Addr: "127.0.0.1:1"})
		synctest.Wait()
		r.Set("order", discovery.Instance{Addr: "127.0.0.1:2"})
		synctest.Wait()
		r.Set("kitchen")
		synctest.Wait()
		for i, want := range []int{0, 1, 0} {
			if got := <-sizes; got != want {
				t.Errorf("state %d has %d instances, want %d", i, got, want)
			}
		}
		if len(sizes) != 0 {
			t.Errorf("%d states too many", len(sizes))
		}
	})
}
