package consumerapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, consumerapi.Codec, "testdata/events")
}
