package bus

import (
	"slices"

	"github.com/cleave-go/cleave/event"
)

// Epoch is an incarnation of a source's table: its records behind After, up to
// those of the next epoch. A table begins with one. A table that was restored
// from an older copy goes on in a new one, because positions behind After mean
// other events than those that the bus has carried under the epoch before.
type Epoch struct {
	Name  string
	After event.Position
}

// EpochAt returns the epoch of a position.
func EpochAt(epochs []Epoch, p event.Position) string {
	for i := len(epochs) - 1; i > 0; i-- {
		if p > epochs[i].After {
			return epochs[i].Name
		}
	}
	return epochs[0].Name
}

// Enter returns where in a table somebody goes on who stands at a place. What
// was carried under an epoch beyond its end is passed. It reports false when
// the place is of an epoch that the table does not know; it is then before the
// first record.
func Enter(epochs []Epoch, at Place) (Place, bool) {
	if at.Epoch == "" {
		return Place{Epoch: epochs[0].Name}, true
	}
	i := slices.IndexFunc(epochs, func(e Epoch) bool { return e.Name == at.Epoch })
	if i < 0 {
		return Place{Epoch: epochs[0].Name}, false
	}
	for ; i+1 < len(epochs) && at.Position >= epochs[i+1].After; i++ {
		at = Place{Epoch: epochs[i+1].Name, Position: epochs[i+1].After}
	}
	return at, true
}
