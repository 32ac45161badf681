package orderapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, orderapi.Codec, "testdata/events")
}
