package order_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/contract/contracttest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/order"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/sagas"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

// provider is the order service as it really runs, alone, and a second handle
// on its database that sets up states.
type provider struct {
	db     *sqldb.DB
	store  *sqlstore.Store
	orders *sagas.Orders
	last   string // the order of the last state
	server http.Handler
	token  string
}

func start(t *testing.T) *provider {
	t.Helper()
	dir := t.TempDir()
	system := systemtest.Start(t, &systemtest.Options{Dir: dir}, kit.Service{Name: "order", New: order.New})
	at, err := url.Parse(system.URL("order"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "order.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store := sqlstore.New(db)
	return &provider{
		db: db, store: store, orders: eventsource.NewRepository(store, domain.Decider),
		server: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }}, token: system.Token("consumer-1", "consumer"),
	}
}

// anOrder is what contracts say of an order; without an ID any will do.
type anOrder struct {
	ID         string `json:"id"`
	ConsumerID string `json:"consumerId"`
	Reason     string `json:"reason"`
}

func (p *provider) options() []contract.Option {
	options := []contract.Option{
		contract.Dir("contracts"),
		contract.Handler(p.server),
		contract.Prepare(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.token) }),
		contract.State("no order exists", func(context.Context, anOrder) error { return nil }),
		contract.State("a restaurant offers", p.restaurantOffers),
		p.state("an order was placed"),
		p.state("an order was approved", domain.Approve{}),
		p.state("an order was rejected", domain.Reject{}),
		p.state("an order was cancelled", domain.Approve{}, domain.RequestCancellation{}, domain.ConfirmCancellation{}),
		p.state("an order was revised", domain.Approve{}, domain.ProposeRevision{LineItems: ordered("Lamb Vindaloo")}, domain.ConfirmRevision{}),
	}
	for _, name := range []string{"order.placed", "order.approved", "order.rejected", "order.cancelled", "order.revised"} {
		options = append(options, contract.Publishes(name, func(ctx context.Context) (event.Record, error) { return p.recorded(ctx, name) }))
	}
	return options
}

// state places an order and goes on with commands, through the real aggregate.
func (p *provider) state(name string, commands ...domain.Command) contract.Option {
	return contract.State(name, func(ctx context.Context, o anOrder) error {
		if p.last = o.ID; p.last == "" {
			p.last = event.NewID().String()
		}
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		placed := domain.Place{
			ConsumerID: o.ConsumerID, RestaurantID: "restaurant-1", RestaurantName: "Ajanta", LineItems: ordered("Chicken Vindaloo"),
			DeliveryAddress: orderapi.PostalAddress{Street1: "1 Main Street", Street2: "rear", City: "Berkeley", State: "CA", Zip: "94704"},
			DeliveryTime:    &at, At: time.Now().UTC(),
		}
		for _, c := range append([]domain.Command{placed}, commands...) {
			if _, ok := c.(domain.Reject); ok {
				c = domain.Reject{Reason: cmp.Or(o.Reason, "CARD_EXPIRED")}
			}
			if _, err := p.orders.Handle(ctx, p.last, c); err != nil {
				return fmt.Errorf("%T: %w", c, err)
			}
		}
		return nil
	})
}

func ordered(name string) []orderapi.OrderedItem {
	return []orderapi.OrderedItem{{MenuItemID: "vindaloo", Name: name, Price: orderapi.Amount{Amount: 995, Currency: "USD"}, Quantity: 3}}
}

// recorded returns the last event of a type in the table of the last order.
func (p *provider) recorded(ctx context.Context, name string) (found event.Record, err error) {
	for r, err := range p.store.Read(ctx, event.Stream{Category: orderapi.Category, ID: p.last}, eventsource.ReadOptions{}) {
		if err != nil {
			return found, err
		}
		if r.Type == name {
			found = r
		}
	}
	if found.Type == "" {
		return found, fmt.Errorf("order %s has no %s", p.last, name)
	}
	return found, nil
}

// restaurantOffers has the service learn a menu from the restaurant's event.
func (p *provider) restaurantOffers(ctx context.Context, offer struct {
	ID         string `json:"id"`
	MenuItemID string `json:"menuItemId"`
}) error {
	r, err := restaurantapi.Codec.Encode(restaurantapi.Created{
		Name: "Ajanta", MenuVersion: 1, Menu: []restaurantapi.PricedDish{{ID: offer.MenuItemID, Name: "Chicken Vindaloo", Price: 995, Currency: "USD"}},
	})
	if err != nil {
		return err
	}
	r.Stream = event.Stream{Category: restaurantapi.Category, ID: offer.ID}
	return p.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		return menus.New(p.db, nil).Projection().Apply(ctx, tx, bus.Message{Source: "restaurant", Record: r})
	})
}

func TestOrderKeepsItsContracts(t *testing.T) {
	contract.Verify(t, "order", start(t).options()...)
}

// careless is an order service that somebody changed without asking.
type careless struct {
	orderapi.UnimplementedOrderServiceHandler
}

func (careless) GetOrder(_ context.Context, req *orderapi.GetOrderRequest) (*orderapi.Order, error) {
	return &orderapi.Order{
		Id: req.Id, Status: orderapi.OrderStatus_APPROVED, ConsumerId: "consumer-1", RestaurantId: "restaurant-1",
		LineItems: []*orderapi.OrderLineItem{{MenuItemId: "vindaloo", Name: "Chicken Vindaloo", Quantity: 2}},
		Total:     &orderapi.Money{Amount: 2400, Currency: "dollars"},
	}, nil
}

func TestOrderServiceThatChangesItsAnswersBreaksItsContract(t *testing.T) {
	server := rpi.NewServer(nil)
	orderapi.RegisterOrderServiceHandler(server, careless{})
	none := func(context.Context, anOrder) error { return nil }
	broken := contracttest.Run("TestOrder", func(t *contracttest.T) {
		contract.Verify(t, "order", contract.Files("contracts/webbff-order.json"), contract.Handler(rpi.Handler(server)),
			contract.State("an order was approved", none), contract.State("an order was rejected", none), contract.State("no order exists", none),
			contract.State("a restaurant offers", func(context.Context, map[string]string) error { return nil }))
	})
	const want = `contract: order does not keep what webbff expects in "GetOrder" (webbff-order.json, recorded by webbff.TestOrderIsShown):
path                  expected                                                                   actual     rule
$.deliveryAddress     {"city":"Oakland","state":"CA","street1":"1 High Street","street2":"2nd …  missing    type
$.deliveryTime        '2026-03-01T13:00:00Z'                                                     missing    type
$.lineItems[0].price  {"amount":"1200","currency":"USD"}                                         missing    type
$.placedAt            '2026-03-01T12:00:00Z'                                                     missing    type
$.total.currency      'USD'                                                                      'dollars'  regex [A-Z]{3}
`
	if !strings.HasPrefix(broken.Output(), want) {
		t.Errorf("said\n%s\nwant\n%s", broken.Output(), want)
	}
}
