package eventtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/eventtest"
)

type recorder struct {
	testing.TB
	reported []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	r.reported = append(r.reported, fmt.Sprintf(format, a...))
}
func (r *recorder) Error(a ...any) { r.reported = append(r.reported, fmt.Sprint(a...)) }

type line struct {
	Dish  string
	Count int
}

type (
	placed struct {
		Restaurant string
		Lines      []line
		At         time.Time
		Notes      map[string]string `json:",omitempty"`
		Tip        *int64            `json:",omitempty"`
	}
	renamed struct {
		RestaurantID string
		Lines        []line
		At           time.Time
		Notes        map[string]string `json:",omitempty"`
		Tip          *int64            `json:",omitempty"`
	}
	retyped struct {
		Restaurant int
		Lines      []line
		At         time.Time
		Notes      map[string]string `json:",omitempty"`
		Tip        *int64            `json:",omitempty"`
	}
	grown struct {
		Restaurant string
		Lines      []line
		At         time.Time
		Notes      map[string]string `json:",omitempty"`
		Tip        *int64            `json:",omitempty"`
		Phone      string            `json:",omitempty"`
	}
	requoted struct {
		Restaurant string
		Lines      []line
		At         time.Time
		Notes      map[string]string `json:",omitempty"`
		Tip        *int64            `json:",omitempty,string"`
	}
	hidden struct {
		Restaurant string `json:"-"`
		Lines      []line
		At         time.Time
		Notes      map[string]string `json:",omitempty"`
		Tip        *int64            `json:",omitempty"`
	}
	second struct{ Where string }
)

func codec[T any](schema int, ups ...event.Upcaster) *event.Codec[any] {
	return event.NewCodec[any](event.Of[T]("order.placed", schema, ups...))
}

// frozen reports what Frozen says of a codec in a folder in which codec[placed](1) is frozen.
func frozen(t *testing.T, dir string, c *event.Codec[any]) string {
	t.Helper()
	r := &recorder{TB: t}
	eventtest.Frozen(r, c, dir)
	return strings.Join(r.reported, "\n")
}

// freeze writes the files of a codec.
func freeze(t *testing.T, dir string, c *event.Codec[any]) {
	t.Helper()
	t.Setenv("CLEAVE_UPDATE", "1")
	eventtest.Frozen(t, c, dir)
	t.Setenv("CLEAVE_UPDATE", "")
}

func TestTrapT21AnEventThatIsEditedInPlaceIsNoticed(t *testing.T) {
	fromPlaced := event.Up(1, func(placed) second { return second{} })
	for name, c := range map[string]struct {
		codec *event.Codec[any]
		want  string
	}{
		"a field is renamed":                {codec[renamed](1), `unknown field "Restaurant"`},
		"a field is renamed in a past type": {codec[second](2, event.Up(1, func(renamed) second { return second{} })), `unknown field "Restaurant"`},
		"a field gets another type":         {codec[retyped](1), "cannot unmarshal string"},
		"a field gets another form":         {codec[requoted](1), "was changed"},
		"a field is not written any more":   {codec[hidden](1), `unknown field "Restaurant"`},
		"a new field is not frozen yet":     {codec[grown](1), "CLEAVE_UPDATE=1"},
		"a past type grows":                 {codec[second](2, event.Up(1, func(grown) second { return second{} })), "+ \t\"Phone\": \"text\""},
		"a new schema is not frozen yet":    {codec[second](2, fromPlaced), "order.placed, schema 2: it is not frozen yet"},
		"an upcaster is removed":            {codec[second](2), "does not read"},
		"a type is removed":                 {event.NewCodec[any](event.Of[second]("order.lost", 1)), "does not read"},
		"nothing is changed":                {codec[placed](1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			freeze(t, dir, codec[placed](1))
			got := frozen(t, dir, c.codec)
			if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("reported %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestUpdatingAddsAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "order.placed.v1.json")
	freeze(t, dir, codec[placed](1))
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CLEAVE_UPDATE", "1")
	if got := frozen(t, dir, codec[renamed](1)); !strings.Contains(got, "raise the schema") {
		t.Errorf("a renamed field: reported %q", got)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Errorf("the file changed to %s", after)
	}
	if got := frozen(t, dir, codec[grown](1)); got != "" {
		t.Errorf("a new field: reported %q", got)
	}
	after, _ := os.ReadFile(file)
	if !strings.Contains(string(after), `"Phone": "text"`) || !strings.Contains(string(after), `"Restaurant": "text"`) {
		t.Errorf("the file has %s", after)
	}
	t.Setenv("CLEAVE_UPDATE", "")
	if got := frozen(t, dir, codec[grown](1)); got != "" {
		t.Errorf("reported %q", got)
	}
	if got := frozen(t, dir, codec[placed](1)); !strings.Contains(got, `unknown field "Phone"`) {
		t.Errorf("the new field is gone: reported %q", got)
	}
}

func TestAPastSchemaStaysReadable(t *testing.T) {
	dir := t.TempDir()
	two := codec[second](2, event.Up(1, func(p placed) second { return second{p.Restaurant} }))
	freeze(t, dir, codec[placed](1))
	freeze(t, dir, two)
	if got := frozen(t, dir, two); got != "" {
		t.Errorf("reported %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "order.placed.v1.json"), []byte(`{"Ort": "x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := frozen(t, dir, two); !strings.Contains(got, `unknown field "Ort"`) {
		t.Errorf("an edited file: reported %q", got)
	}
}

// currency is a type that not any text can be.
type currency string

func (c *currency) UnmarshalText(text []byte) error {
	if len(text) != 3 {
		return fmt.Errorf("%q is no currency", text)
	}
	*c = currency(text)
	return nil
}

func TestAnExampleStandsInForWhatCannotBeFilled(t *testing.T) {
	type paid struct{ Currency currency }
	c, dir := codec[paid](1), t.TempDir()
	t.Setenv("CLEAVE_UPDATE", "1")
	eventtest.Frozen(t, c, dir, any(paid{"EUR"}))
	t.Setenv("CLEAVE_UPDATE", "")
	eventtest.Frozen(t, c, dir, any(paid{"EUR"}))
	text, err := os.ReadFile(filepath.Join(dir, "order.placed.v1.json"))
	if err != nil || !strings.Contains(string(text), "EUR") {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestDiffShowsWhatChangedAndALittleAroundIt(t *testing.T) {
	old := "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	changed := "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n"
	want := "  3\n  4\n- 5\n+ five\n  6\n  7\n  8\n  9\n+ 10"
	if got := eventtest.Diff([]byte(old), []byte(changed)); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := eventtest.Diff([]byte(old), []byte(old)); got != "" {
		t.Errorf("got\n%s", got)
	}
}
