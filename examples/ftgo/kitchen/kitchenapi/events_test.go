package kitchenapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, kitchenapi.Codec, "testdata/events")
}
