package restaurant_test

import (
	"fmt"
	"slices"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/examples/ftgo/restaurant"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
	"github.com/cleave-go/cleave/rpi"
)

func start(t *testing.T) (*systemtest.System, restaurantapi.RestaurantServiceClient) {
	system := systemtest.Start(t, nil, kit.Service{Name: "restaurant", New: restaurant.New})
	return system, restaurantapi.NewRestaurantServiceClient(system.Client("restaurant"))
}

func create(name string, dishes ...*restaurantapi.MenuItem) *restaurantapi.CreateRestaurantRequest {
	return &restaurantapi.CreateRestaurantRequest{
		Name: name, Menu: dishes,
		Address: &restaurantapi.Address{Street1: "1 Main St", City: "Oakland", State: "CA", Zip: "94612"},
	}
}

func dish(id, name string, price int64) *restaurantapi.MenuItem {
	return &restaurantapi.MenuItem{Id: id, Name: name, Price: &restaurantapi.Money{Amount: price, Currency: "USD"}}
}

func TestRestaurantsAreListedNewestFirst(t *testing.T) {
	system, restaurants := start(t)
	admin := system.As(t.Context(), "root", "admin")
	for i := range 5 {
		if _, err := restaurants.CreateRestaurant(admin, create(fmt.Sprintf("Place %d", i), dish("a", fmt.Sprintf("Dish %d", i), 100))); err != nil {
			t.Fatal(err)
		}
	}
	names := func(search, after string, first int32) (found []string, res *restaurantapi.ListRestaurantsResponse) {
		res, err := restaurants.ListRestaurants(t.Context(), &restaurantapi.ListRestaurantsRequest{Search: search, After: after, First: first})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Restaurants {
			found = append(found, r.Name)
		}
		return found, res
	}
	page, res := names("", "", 3)
	if want := []string{"Place 4", "Place 3", "Place 2"}; !slices.Equal(page, want) || !res.HasNextPage {
		t.Errorf("the first page is %v, %v", page, res.HasNextPage)
	}
	page, res = names("", res.EndCursor, 3)
	if want := []string{"Place 1", "Place 0"}; !slices.Equal(page, want) || res.HasNextPage {
		t.Errorf("the last page is %v, %v", page, res.HasNextPage)
	}
	for search, want := range map[string]int{"place 3": 1, "DISH": 5, "pizza": 0, "%": 0} {
		if found, _ := names(search, "", 0); len(found) != want {
			t.Errorf("%q finds %v, want %d", search, found, want)
		}
	}
}

func TestMenusAreRevisedByTheirOwner(t *testing.T) {
	system, restaurants := start(t)
	owner := system.As(t.Context(), "ajanta", "restaurant")
	r, err := restaurants.CreateRestaurant(owner, create("Ajanta", dish("a", "Naan", 250)))
	if err != nil || r.Id != "ajanta" || r.MenuVersion != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	revision := &restaurantapi.ReviseMenuRequest{RestaurantId: "ajanta", Menu: []*restaurantapi.MenuItem{dish("a", "Naan", 300)}}
	if r, err = restaurants.ReviseMenu(owner, revision); err != nil || r.MenuVersion != 2 || r.Menu[0].Price.Amount != 300 {
		t.Errorf("got %v, %v", r, err)
	}
	if _, err := restaurants.ReviseMenu(system.As(t.Context(), "other", "restaurant"), revision); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another restaurant: got %v", err)
	}
	if _, err := restaurants.CreateRestaurant(owner, create("Twice", dish("a", "Naan", 250))); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("created twice: got %v", err)
	}
}

func TestRestaurantsAreCheckedFieldByField(t *testing.T) {
	system, restaurants := start(t)
	ctx := system.As(t.Context(), "ajanta", "restaurant")
	foreign := dish("a", "Naan", 250)
	foreign.Price.Currency = "EUR"
	for want, req := range map[string]*restaurantapi.CreateRestaurantRequest{
		"name":                   create("", dish("a", "Naan", 250)),
		"menu":                   create("Ajanta"),
		"menu[0].price.amount":   create("Ajanta", dish("a", "Naan", 0)),
		"menu[0].price.currency": create("Ajanta", foreign),
		"menu[1].id":             create("Ajanta", dish("a", "Naan", 250), dish("a", "Naan again", 250)),
		"address.street1":        {Name: "Ajanta", Menu: []*restaurantapi.MenuItem{dish("a", "Naan", 250)}},
	} {
		_, err := restaurants.CreateRestaurant(ctx, req)
		if field, ok := rpi.FieldOf(err); !ok || field != want {
			t.Errorf("got %v about %q, want %q", err, field, want)
		}
	}
}
