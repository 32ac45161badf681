package restaurants

import (
	"fmt"
	"math"
	"strings"

	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
)

// Bounds of a restaurant and its menu.
const (
	MaxText  = 200 // bytes of a name or a line of an address
	MaxMenu  = 500 // items
	Currency = "USD"
)

// FieldError says what is wrong with a field.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func check(r Restaurant) error {
	a := r.Address
	for _, f := range []struct {
		field, value string
		optional     bool
	}{
		{"name", r.Name, false},
		{"address.street1", a.Street1, false}, {"address.street2", a.Street2, true},
		{"address.city", a.City, false}, {"address.state", a.State, false}, {"address.zip", a.Zip, false},
	} {
		if err := checkText(f.field, f.value, f.optional); err != nil {
			return err
		}
	}
	return checkMenu("menu", r.Menu)
}

func checkMenu(field string, menu []restaurantapi.PricedDish) error {
	if len(menu) == 0 || len(menu) > MaxMenu {
		return &FieldError{field, fmt.Sprintf("has %d items; a menu has 1 to %d", len(menu), MaxMenu)}
	}
	seen := map[string]bool{}
	for i, dish := range menu {
		at := fmt.Sprintf("%s[%d].", field, i)
		if err := checkText(at+"id", dish.ID, false); err != nil {
			return err
		}
		if err := checkText(at+"name", dish.Name, false); err != nil {
			return err
		}
		if seen[dish.ID] {
			return &FieldError{at + "id", fmt.Sprintf("%q is on the menu twice", dish.ID)}
		}
		seen[dish.ID] = true
		if dish.Price <= 0 || dish.Price > math.MaxInt32 {
			return &FieldError{at + "price.amount", fmt.Sprintf("is %d; a price is 1 to %d minor units", dish.Price, math.MaxInt32)}
		}
		if dish.Currency != Currency {
			return &FieldError{at + "price.currency", fmt.Sprintf("is %q; prices are in %s", dish.Currency, Currency)}
		}
	}
	return nil
}

func checkText(field, value string, optional bool) error {
	if !optional && strings.TrimSpace(value) == "" {
		return &FieldError{field, "is empty"}
	}
	if len(value) > MaxText {
		return &FieldError{field, fmt.Sprintf("has %d bytes; at most %d are kept", len(value), MaxText)}
	}
	return nil
}
