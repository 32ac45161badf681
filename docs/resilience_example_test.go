package docs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/retry"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

var errBusy = errors.New("the provider is busy")

func chargeCard(context.Context) error { return nil }

// A dependency that is not one of ours: a breaker around, a policy within.
func Example_dependency() {
	payments, err := breaker.New("payments", &breaker.Options{SlowCall: 2 * time.Second, SlowRate: 0.8})
	if err != nil {
		log.Fatal(err)
	}
	policy := &retry.Policy{
		Attempts: 3,
		Budget:   new(retry.Budget), // one for all calls to this dependency
		Retry: func(err error) retry.Verdict {
			if errors.Is(err, errBusy) { // it says that it did nothing
				return retry.Again
			}
			return retry.Stop
		},
	}
	charge := func(ctx context.Context) error {
		return payments.Do(ctx, func(ctx context.Context) error {
			return retry.Do(ctx, policy, chargeCard)
		})
	}

	fmt.Println(charge(context.Background()))
	// Output: <nil>
}

// A server that refuses what it has no room for, and a client that notices.
func Example_overload() {
	room, err := limit.NewAdaptive(nil)
	if err != nil {
		log.Fatal(err)
	}
	server := rpi.NewServer(&rpi.ServerOptions{
		Interceptors: []connect.ServerInterceptor{rpi.Shed(room, nil)},
	})
	echoapi.RegisterEchoServiceHandler(server, echo{})

	refused, err := limit.NewThrottle(nil)
	if err != nil {
		log.Fatal(err)
	}
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, &rpi.LocalOptions{Call: rpi.CallOptions{
		Interceptors: []connect.ClientInterceptor{rpi.Throttle(refused)},
	}})))

	// a report that may as well come tomorrow
	ctx := rpi.WithCriticality(context.Background(), limit.Sheddable)
	res, err := client.Echo(ctx, &echoapi.EchoRequest{Text: "served"})
	if rpi.ReasonOf(err) == rpi.ReasonOverloaded {
		fmt.Println("later")
	}
	fmt.Println(res.GetText(), room.Stats().Admitted[limit.Sheddable])
	// Output: served 1
}

// A share for each caller.
func Example_share() {
	perCaller, err := limit.NewKeyed[string](limit.Rate{Events: 10, Per: time.Second, Burst: 20}, nil)
	if err != nil {
		log.Fatal(err)
	}
	ok, retryAfter, remaining := perCaller.Allow("consumer 7")

	fmt.Println(ok, retryAfter, remaining)
	// Output: true 0s 19
}

// What a caller does when the answer to its call is lost.
func Example_faults() {
	faults := new(rpi.Faults)
	server := rpi.NewServer(&rpi.ServerOptions{Interceptors: []connect.ServerInterceptor{faults.Server}})
	echoapi.RegisterEchoServiceHandler(server, echo{})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))

	lost := connect.NewError(connect.CodeUnavailable, "the connection broke")
	if err := faults.Set(rpi.Fault{Rate: 1, Times: 1, After: true, Err: lost}); err != nil {
		log.Fatal(err)
	}
	_, err := client.Echo(context.Background(), &echoapi.EchoRequest{Text: "done, but who knows"})

	fmt.Println(connect.CodeOf(err), faults.Injected())
	// Output: unavailable 1
}

// A breaker of one's own choice for a service.
func Example_breaker() {
	strict, err := breaker.New("kitchen", &breaker.Options{MinCalls: 10, FailureRate: 0.2, Classify: rpi.Classify})
	if err != nil {
		log.Fatal(err)
	}
	addresses := discovery.Static(map[string][]string{"kitchen": {"127.0.0.1:8090"}})
	kitchen := rpi.Remote("kitchen", addresses, &rpi.RemoteOptions{Breaker: strict})

	kitchen.Breaker().SetMode(breaker.ForcedOpen) // while the kitchen is being moved
	fmt.Println(kitchen.Breaker().Stats().State)
	// Output: open
}

// notes keeps what it is told, once.
type notes struct {
	echoapi.UnimplementedEchoServiceHandler
	db *sqldb.DB
}

func (n *notes) Store(ctx context.Context, r *echoapi.EchoRequest) (reply *echoapi.EchoResponse, err error) {
	err = n.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		reply, err = rpi.Once(ctx, tx, func() (*echoapi.EchoResponse, error) {
			res, err := tx.ExecContext(ctx, "INSERT INTO notes (text) VALUES (?)", r.Text)
			if err != nil {
				return nil, err
			}
			number, err := res.LastInsertId()
			return &echoapi.EchoResponse{Number: number}, err
		})
		return err
	})
	return reply, err
}

// A handler whose effect happens once, however often it is called.
func Example_once() {
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, &notes{}) // with the service's database, which has rpi.OnceSchema
}

// Reads that do not wait for the slowest instance.
func Example_hedge() {
	addresses := discovery.Static(map[string][]string{"search": {"127.0.0.1:8091", "127.0.0.1:8092"}})
	search := rpi.Remote("search", addresses, &rpi.RemoteOptions{Hedge: true, PerTry: 2 * time.Second})

	fmt.Println(search.Breaker().Stats().State)
	// Output: closed
}

// Plain HTTP to the instances of a service.
func Example_roundTripper() {
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "5 stars") }))
	defer listener.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	addresses := discovery.Static(map[string][]string{"ratings": {listener.Listener.Addr().String()}})
	ratings := rpi.NewRoundTripper("ratings", addresses, nil)
	go ratings.Run(ctx)
	client := &http.Client{Transport: ratings}
	res, err := client.Get("http://ratings/restaurants/7")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()

	stars, err := io.ReadAll(res.Body)
	fmt.Println(string(stars), err)
	// Output: 5 stars <nil>
}
