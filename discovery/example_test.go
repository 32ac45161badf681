package discovery_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// A client keeps a balancer fed by a watch and asks it before each call.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resolver := discovery.Static(map[string][]string{"kitchen": {"127.0.0.1:7001"}})
	balancer := discovery.NewBalancer(nil)
	known := make(chan struct{})
	go func() {
		for snapshot, err := range resolver.Watch(ctx, "kitchen") {
			if err == nil {
				balancer.Update(snapshot)
				close(known) // Static yields once; others need a sync.Once here
			}
		}
	}()
	<-known

	picked, err := balancer.Pick()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("call", picked.Instance.Addr)
	picked.Done(nil) // or the error that says the instance is unwell
	// Output: call 127.0.0.1:7001
}

// An instance makes itself known for as long as it runs, and leaves before it stops accepting.
func ExampleClient_NewRegistration() {
	client, err := discovery.NewClient("http://127.0.0.1:8761", "token", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.NewRegistration(discovery.Instance{Service: "kitchen", ID: "k1", Addr: "localhost:7001"},
		&discovery.RegistrationOptions{Lease: 5 * time.Second})
	fmt.Println(err) // a valid one: err = registration.Run(ctx)
	// Output: instance address "localhost:7001": want the IP address and port that clients connect to
}
