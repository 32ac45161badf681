package accountingapi_test

import (
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
)

func TestRecordedEventsStayReadable(t *testing.T) {
	eventtest.Frozen(t, accountingapi.AccountCodec, "testdata/events/account")
	eventtest.Frozen(t, accountingapi.PaymentCodec, "testdata/events/payment")
}
