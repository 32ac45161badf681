package supervisor

import (
	"context"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// register tells the registry about a program that does not do it itself.
func (i *instance) register() {
	if i.sup.registry == nil || !i.prog.registered(i.art) || len(i.leave) > 0 {
		return
	}
	for _, service := range i.prog.spec.Services() {
		r, err := i.sup.registry.NewRegistration(discovery.Instance{
			Service: service, ID: i.id, Addr: i.address(), Version: i.version(), Status: discovery.Up,
		}, &discovery.RegistrationOptions{Registrar: "supervisor", Lease: 3 * time.Second})
		if err != nil {
			i.note("cannot be registered: " + err.Error())
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if err := r.Run(ctx); err != nil {
				i.note("cannot be registered: " + err.Error())
			}
		}()
		i.leave = append(i.leave, func(wait bool) {
			cancel()
			if wait {
				<-gone
			}
		})
	}
}

func (i *instance) withdraw(wait bool) {
	for _, f := range i.leave {
		f(wait)
	}
	i.leave = nil
}

// takeOut removes what a process that registers itself may have left when it
// died: nobody should call it until its lease has run out. It returns before
// the next process starts, whose registration must stay.
func (i *instance) takeOut() {
	if i.sup.registry == nil || i.state.Alive || !i.prog.self(i.art) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, service := range i.prog.spec.Services() {
		if _, err := i.sup.registry.Deregister(ctx, service, i.id, 0); err != nil {
			return // the lease runs out
		}
	}
}
