package deliveryapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, deliveryapi.Codec, "testdata/events")
}
