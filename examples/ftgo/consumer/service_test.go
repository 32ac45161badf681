package consumer_test

import (
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/examples/ftgo/consumer"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
	"github.com/cleave-go/cleave/rpi"
)

func TestConsumersRegisterAndPay(t *testing.T) {
	system := systemtest.Start(t, nil, kit.Service{Name: "consumer", New: consumer.New})
	consumers := consumerapi.NewConsumerServiceClient(system.Client("consumer"))
	ada, admin := system.As(t.Context(), "ada", "consumer"), system.As(t.Context(), "root", "admin")

	c, err := consumers.RegisterConsumer(ada, &consumerapi.RegisterConsumerRequest{FirstName: "Ada", LastName: "Byron"})
	if err != nil || c.Id != "ada" {
		t.Fatalf("got %v, %v", c, err)
	}
	if c, err := consumers.RegisterConsumer(admin, &consumerapi.RegisterConsumerRequest{FirstName: "Grace", LastName: "Hopper"}); err != nil || c.Id == "root" {
		t.Errorf("an admin registered %v, %v; want a fresh id", c, err)
	}
	if _, err := consumers.SetPaymentCard(ada, &consumerapi.SetPaymentCardRequest{ConsumerId: "ada", CardToken: "limit-100"}); err != nil {
		t.Error(err)
	}
	for name, call := range map[string]struct {
		err  error
		want connect.Code
	}{
		"registering twice": {want: connect.CodeAlreadyExists, err: errOf(consumers.RegisterConsumer(ada, &consumerapi.RegisterConsumerRequest{FirstName: "A", LastName: "B"}))},
		"nobody":            {want: connect.CodeUnauthenticated, err: errOf(consumers.GetConsumer(t.Context(), &consumerapi.GetConsumerRequest{Id: "ada"}))},
		"somebody else":     {want: connect.CodeNotFound, err: errOf(consumers.GetConsumer(system.As(t.Context(), "eve", "consumer"), &consumerapi.GetConsumerRequest{Id: "ada"}))},
		"a restaurant":      {want: connect.CodePermissionDenied, err: errOf(consumers.GetConsumer(system.As(t.Context(), "r", "restaurant"), &consumerapi.GetConsumerRequest{Id: "ada"}))},
	} {
		if got := connect.CodeOf(call.err); got != call.want {
			t.Errorf("%s: got %v (%v), want %v", name, got, call.err, call.want)
		}
	}
}

func TestConsumersAreCheckedFieldByField(t *testing.T) {
	system := systemtest.Start(t, nil, kit.Service{Name: "consumer", New: consumer.New})
	consumers := consumerapi.NewConsumerServiceClient(system.Client("consumer"))
	ctx := system.As(t.Context(), "ada", "consumer")
	for want, req := range map[string]*consumerapi.RegisterConsumerRequest{
		"firstName":  {FirstName: " ", LastName: "B"},
		"lastName":   {FirstName: "A", LastName: string(make([]byte, 101))},
		"card.token": {FirstName: "A", LastName: "B", CardToken: "limit--1"},
	} {
		_, err := consumers.RegisterConsumer(ctx, req)
		if field, ok := rpi.FieldOf(err); !ok || field != want {
			t.Errorf("%v: got %v about %q, want %q", req, err, field, want)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }
