// Package ftgo_test runs the reference application on engines that its own
// module does not start.
package ftgo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/examples/ftgo/accounting"
	"github.com/cleave-go/cleave/examples/ftgo/consumer"
	"github.com/cleave-go/cleave/examples/ftgo/delivery"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen"
	"github.com/cleave-go/cleave/examples/ftgo/order"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant"
	"github.com/cleave-go/cleave/examples/ftgo/webbff"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestAnOrderIsApprovedOnPostgreSQL places an order and carries it out, every
// service on a database of its own of one server.
func TestAnOrderIsApprovedOnPostgreSQL(t *testing.T) {
	s := pgtest.Shared(t)
	services := []kit.Service{
		{Name: "consumer", New: consumer.New}, {Name: "restaurant", New: restaurant.New},
		{Name: "order", New: order.New}, {Name: "kitchen", New: kitchen.New},
		{Name: "accounting", New: accounting.New}, {Name: "delivery", New: delivery.New},
		{Name: "orderhistory", New: orderhistory.New}, {Name: "webbff", New: webbff.New},
	}
	for _, one := range services {
		if err := s.CreateNamed(one.Name); err != nil {
			t.Fatal(err)
		}
	}
	database, err := url.PathUnescape(s.URL("app", "{service}"))
	if err != nil {
		t.Fatal(err)
	}
	system := systemtest.Start(t, &systemtest.Options{Apart: true, Environ: []string{"DATABASE_URL=" + database}}, services...)
	try := func(sub, role, document string) (map[string]any, error) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"query": document})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, system.URL("webbff")+"/graphql", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+system.Token(sub, role))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct {
			Data   map[string]map[string]any
			Errors []any
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Errors) > 0 {
			return nil, fmt.Errorf("%v, %v", answer.Errors, err)
		}
		for _, field := range answer.Data {
			return field, nil
		}
		return nil, nil
	}
	ask := func(sub, role, document string) map[string]any {
		t.Helper()
		field, err := try(sub, role, document)
		if err != nil {
			t.Fatal(err)
		}
		return field
	}
	const address = `{street1: "1 Main St", city: "Oakland", state: "CA", zip: "94612"}`
	ask("ajanta", "restaurant", `mutation { createRestaurant(input: {name: "Ajanta", address: `+address+`, menu: [{id: "v", name: "Vindaloo", price: {amount: 1234}}]}) { id } }`)
	ask("ada", "consumer", `mutation { registerConsumer(input: {firstName: "Ada", lastName: "Byron", card: {token: "ok"}}) { id } }`)
	placed := ask("ada", "consumer", `mutation { placeOrder(waitMs: 10000, input: {consumerId: "ada", restaurantId: "ajanta",
		lineItems: [{menuItemId: "v", quantity: 2}], deliveryAddress: `+address+`}) { id status ticket { status } payment { reversed } } }`)
	if placed["status"] != "APPROVED" || placed["ticket"] == nil || placed["payment"] == nil {
		t.Fatalf("got %v", placed)
	}
	id := `(orderId: "` + placed["id"].(string) + `"`
	ask("carl", "courier", `mutation { setCourierAvailability(courierId: "carl", available: true) { available } }`)
	readyBy := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ask("ajanta", "restaurant", `mutation { acceptTicket`+id+`, readyBy: "`+readyBy+`") { status } }`)
	ask("ajanta", "restaurant", `mutation { startPreparing`+id+`) { status } }`)
	ask("ajanta", "restaurant", `mutation { finishPreparing`+id+`) { status } }`)
	deliver := func(what string) string {
		return `mutation { ` + what + id + `) { status courier { id } } }`
	}
	var delivered map[string]any
	for start := time.Now(); delivered == nil; time.Sleep(20 * time.Millisecond) {
		var err error
		if delivered, err = try("carl", "courier", deliver("recordPickUp")); err != nil && time.Since(start) > 10*time.Second {
			t.Fatal(err)
		}
	}
	if delivered = ask("carl", "courier", deliver("recordDropOff")); delivered["status"] != "DELIVERED" {
		t.Errorf("got %v", delivered)
	}
	found := ask("ada", "consumer", `{ restaurants(search: "vinda") { nodes { id name } } }`)
	if text, _ := json.Marshal(found); !strings.Contains(string(text), "Ajanta") {
		t.Errorf("the search for a dish finds %s", text)
	}
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		history := ask("ada", "consumer", `{ orders(consumerId: "ada", keyword: "VINDALOO") { nodes { id status } } }`)
		if text, _ := json.Marshal(history); strings.Contains(string(text), "APPROVED") {
			break
		} else if time.Since(start) > 10*time.Second {
			t.Fatalf("the history shows %s", text)
		}
	}
}
