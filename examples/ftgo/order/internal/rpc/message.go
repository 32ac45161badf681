package rpc

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/rpi"
)

func checkPlace(req *orderapi.PlaceOrderRequest) error {
	a := req.GetDeliveryAddress()
	for _, f := range []struct {
		field, value string
		optional     bool
	}{
		{"consumerId", req.ConsumerId, false}, {"restaurantId", req.RestaurantId, false}, {"idempotencyKey", req.IdempotencyKey, true},
		{"deliveryAddress.street1", a.GetStreet1(), false}, {"deliveryAddress.street2", a.GetStreet2(), true},
		{"deliveryAddress.city", a.GetCity(), false}, {"deliveryAddress.state", a.GetState(), false}, {"deliveryAddress.zip", a.GetZip(), false},
	} {
		if f.value == "" && !f.optional {
			return rpi.InvalidField(f.field, "is empty")
		}
		if len(f.value) > maxText {
			return rpi.InvalidField(f.field, fmt.Sprintf("has %d bytes; at most %d are kept", len(f.value), maxText))
		}
	}
	if req.DeliveryTime != nil && !req.DeliveryTime.IsValid() {
		return rpi.InvalidField("deliveryTime", "is not a time")
	}
	return checkWait(req.WaitMs)
}

func checkWait(ms int32) error {
	if ms < 0 || ms > maxWaitMs {
		return rpi.InvalidField("waitMs", fmt.Sprintf("is %d; it must be 0 to %d", ms, maxWaitMs))
	}
	return nil
}

func message(id string, o domain.State) *orderapi.Order {
	a := o.DeliveryAddress
	m := &orderapi.Order{
		Id: id, Status: orderapi.OrderStatus(orderapi.OrderStatus_value[string(o.Status)]), RejectionReason: o.RejectionReason,
		PlacedAt: timestamppb.New(o.PlacedAt), ConsumerId: o.ConsumerID, RestaurantId: o.RestaurantID, Total: money(o.Total),
		DeliveryAddress: &orderapi.Address{Street1: a.Street1, Street2: a.Street2, City: a.City, State: a.State, Zip: a.Zip},
	}
	if o.DeliveryTime != nil {
		m.DeliveryTime = timestamppb.New(*o.DeliveryTime)
	}
	for _, item := range o.LineItems {
		m.LineItems = append(m.LineItems, &orderapi.OrderLineItem{
			MenuItemId: item.MenuItemID, Name: item.Name, Price: money(item.Price), Quantity: item.Quantity,
		})
	}
	return m
}

func money(a orderapi.Amount) *orderapi.Money {
	return &orderapi.Money{Amount: a.Amount, Currency: a.Currency}
}

func address(a *orderapi.Address) orderapi.PostalAddress {
	return orderapi.PostalAddress{Street1: a.GetStreet1(), Street2: a.GetStreet2(), City: a.GetCity(), State: a.GetState(), Zip: a.GetZip()}
}

func optionalTime(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

func ticketItems(items []orderapi.OrderedItem) []kitchenapi.TicketItem {
	list := make([]kitchenapi.TicketItem, len(items))
	for i, item := range items {
		list[i] = kitchenapi.TicketItem{MenuItemID: item.MenuItemID, Name: item.Name, Quantity: item.Quantity}
	}
	return list
}
