package restaurantapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, restaurantapi.Codec, "testdata/events")
}
