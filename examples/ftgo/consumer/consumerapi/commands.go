package consumerapi

import "github.com/cleave-go/cleave/saga"

// ValidateOrder asks whether a consumer may place an order. It is refused with
// CONSUMER_UNKNOWN.
var ValidateOrder = saga.Endpoint[ValidateOrderCommand, ValidateOrderReply]{Service: "consumer", Command: "validate-order"}

// ConsumerUnknown is the code with which ValidateOrder refuses.
const ConsumerUnknown = "CONSUMER_UNKNOWN"

// ValidateOrderCommand is the question.
type ValidateOrderCommand struct {
	ConsumerID string `json:"consumerId"`
	OrderID    string `json:"orderId"`
}

// ValidateOrderReply says which card was the consumer's when it was asked, so
// that accounting can tell whether it knows that card yet.
type ValidateOrderReply struct {
	CardVersion int64 `json:"cardVersion"`
}
