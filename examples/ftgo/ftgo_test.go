package ftgo_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/cleave-go/cleave/examples/ftgo/accounting"
	"github.com/cleave-go/cleave/examples/ftgo/consumer"
	"github.com/cleave-go/cleave/examples/ftgo/delivery"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen"
	"github.com/cleave-go/cleave/examples/ftgo/mobilebff"
	"github.com/cleave-go/cleave/examples/ftgo/order"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant"
	"github.com/cleave-go/cleave/examples/ftgo/webbff"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
)

// The whole system in one test process, over the in-process bus: the fastest
// way to see an order through. The acceptance package runs it as users do.
func TestAnOrderIsApproved(t *testing.T) {
	for name, apart := range map[string]bool{"in one process": false, "a process each": true} {
		t.Run(name, func(t *testing.T) {
			system := systemtest.Start(t, &systemtest.Options{Apart: apart},
				kit.Service{Name: "consumer", New: consumer.New}, kit.Service{Name: "restaurant", New: restaurant.New},
				kit.Service{Name: "order", New: order.New}, kit.Service{Name: "kitchen", New: kitchen.New},
				kit.Service{Name: "accounting", New: accounting.New}, kit.Service{Name: "delivery", New: delivery.New},
				kit.Service{Name: "orderhistory", New: orderhistory.New}, kit.Service{Name: "webbff", New: webbff.New},
				kit.Service{Name: "mobilebff", New: mobilebff.New})
			ask := func(sub, role, document string) map[string]any {
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
					t.Fatalf("%v, %v", answer.Errors, err)
				}
				for _, field := range answer.Data {
					return field
				}
				return nil
			}
			const address = `{street1: "1 Main St", city: "Oakland", state: "CA", zip: "94612"}`
			ask("ajanta", "restaurant", `mutation { createRestaurant(input: {name: "Ajanta", address: `+address+`, menu: [{id: "v", name: "Vindaloo", price: {amount: 1234}}]}) { id } }`)
			ask("ada", "consumer", `mutation { registerConsumer(input: {firstName: "Ada", lastName: "Byron", card: {token: "ok"}}) { id } }`)
			placed := ask("ada", "consumer", `mutation { placeOrder(waitMs: 10000, input: {consumerId: "ada", restaurantId: "ajanta",
				lineItems: [{menuItemId: "v", quantity: 2}], deliveryAddress: `+address+`}) { status ticket { status } payment { reversed } } }`)
			if placed["status"] != "APPROVED" || placed["ticket"] == nil || placed["payment"] == nil {
				t.Errorf("got %v", placed)
			}
		})
	}
}
