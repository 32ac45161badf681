package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/sqldb"
)

// broker runs one until ctx ends.
func (b *bench) broker(ctx context.Context) (*natsbus.Bus, error) {
	ready, failed := make(chan string, 1), make(chan error, 1)
	go func() {
		failed <- messaging.Run(ctx, messaging.Options{Dir: b.path(), Listen: "127.0.0.1:0", Token: "t", Ready: func(u string) { ready <- u }})
	}()
	select {
	case url := <-ready:
		c, err := natsbus.Connect(ctx, url, nil)
		if err == nil {
			context.AfterFunc(ctx, func() { c.Close() })
		}
		return c, err
	case err := <-failed:
		return nil, err
	}
}

func relay(ctx context.Context, b *bench) ([]lane, error) {
	table, _, err := b.filled(ctx, b.records)
	if err != nil {
		return nil, err
	}
	c, err := b.broker(ctx)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(c.Conn(), jetstream.WithPublishAsyncMaxPending(1024))
	if err != nil {
		return nil, err
	}
	if _, err := relayed(ctx, c, js, "model", table, b.records); err != nil {
		return nil, err
	}
	messages, err := publishedBy(ctx, js, "model", b.records)
	if err != nil {
		return nil, err
	}
	round := 0
	return []lane{
		{"raw pipelined publishing", counted(func(ctx context.Context) (int, error) {
			round++
			return len(messages), republish(ctx, js, fmt.Sprintf("raw%d", round), messages)
		})},
		{"cleave", func(ctx context.Context) (float64, error) {
			round++
			return relayed(ctx, c, js, fmt.Sprintf("relay%d", round), table, b.records)
		}},
	}, nil
}

// relayed publishes a whole table under a new name, and removes it again.
func relayed(ctx context.Context, c *natsbus.Bus, js jetstream.JetStream, name string, table *sqldb.DB, n int) (float64, error) {
	relaying, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() { outbox.NewRelay(name, table, c, nil).Run(relaying) })
	defer wg.Wait()
	defer stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if st, err := js.Stream(ctx, "OUT_"+name); err == nil && st.CachedInfo().State.Msgs >= uint64(n) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	rate := float64(n) / time.Since(start).Seconds()
	stop()
	wg.Wait()
	if name == "model" {
		return rate, nil
	}
	return rate, js.DeleteStream(ctx, "OUT_"+name)
}

// publishedBy returns the messages of a service as they are in its stream.
func publishedBy(ctx context.Context, js jetstream.JetStream, name string, n int) ([]*nats.Msg, error) {
	consumer, err := js.OrderedConsumer(ctx, "OUT_"+name, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	it, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer it.Stop()
	var all []*nats.Msg
	for len(all) < n {
		m, err := it.Next()
		if err != nil {
			return nil, err
		}
		all = append(all, &nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	}
	delete(all[0].Header, "Nats-Expected-Last-Sequence")
	return all, nil
}

// republish publishes messages pipelined, as many in flight as a relay has.
func republish(ctx context.Context, js jetstream.JetStream, name string, messages []*nats.Msg) error {
	model, err := js.Stream(ctx, "OUT_model")
	if err != nil {
		return err
	}
	config := model.CachedInfo().Config
	config.Name, config.Subjects = name, []string{name + ".>"}
	config.SubjectTransform = &jetstream.SubjectTransformConfig{Source: name + ".>", Destination: ">"}
	if _, err := js.CreateStream(ctx, config); err != nil {
		return err
	}
	var futures []jetstream.PubAckFuture
	for _, m := range messages {
		f, err := js.PublishMsgAsync(&nats.Msg{Subject: name + "." + m.Subject, Header: m.Header, Data: m.Data}, jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		}
	}
	return js.DeleteStream(ctx, name)
}

// latency times the way from a commit to a consumer behind the broker, at a
// steady rate.
func (b *bench) latency(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table, _, err := b.open(ctx)
	if err != nil {
		return err
	}
	sink, _, err := b.open(ctx)
	if err != nil {
		return err
	}
	c, err := b.broker(ctx)
	if err != nil {
		return err
	}
	n := int(b.timed.Seconds() * float64(b.rate))
	seen := make(chan arrival, n)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { outbox.NewRelay("timed", table, c, nil).Run(ctx) })
	consumer := bus.Consumer{Name: "timed", DB: sink, Bus: c, Filter: bus.Filter{Source: "timed"},
		Handle: func(_ context.Context, _ sqldb.Tx, m bus.Message) error {
			seen <- arrival{m.ID.String(), time.Now()}
			return nil
		}}
	wg.Go(func() { consumer.Run(ctx) })
	commits, err := b.paced(ctx, sqlstore.New(table), n)
	if err != nil {
		return err
	}
	var took []time.Duration
	for range n {
		select {
		case a := <-seen:
			took = append(took, a.at.Sub(commits[a.id]))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	took = took[len(took)/10:] // the stream was made meanwhile
	slices.Sort(took)
	fmt.Fprintf(w, "\ncommit to consumer at %d events a second: p50 %v, p99 %v (aims: 2 ms, 15 ms)\n", b.rate,
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond))
	return nil
}

type arrival struct {
	id string
	at time.Time
}

// paced appends n events at the rate, and returns when each was committed.
func (b *bench) paced(ctx context.Context, st *sqlstore.Store, n int) (map[string]time.Time, error) {
	var mu sync.Mutex
	var failed []string
	commits := make(map[string]time.Time, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		if wait := time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(b.rate))); wait > 0 {
			time.Sleep(wait)
		}
		wg.Go(func() {
			r := record()
			_, err := st.Append(ctx, stream(i%100), eventsource.Any, r)
			at := time.Now()
			mu.Lock()
			defer mu.Unlock()
			commits[r.ID.String()] = at
			if err != nil {
				failed = append(failed, err.Error())
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, fmt.Errorf("append: %s", strings.Join(failed[:1], ""))
	}
	return commits, nil
}
