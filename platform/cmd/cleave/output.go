package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/platform/control/controlapi"
)

// print writes a value as one line of JSON.
func (e *env) print(v any) {
	var data []byte
	var err error
	if m, ok := v.(proto.Message); ok {
		if data, err = (protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}).Marshal(m); err == nil {
			var compact any
			if err = json.Unmarshal(data, &compact); err == nil {
				data, err = json.Marshal(compact)
			}
		}
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		fmt.Fprintln(e.err, "cleave: "+err.Error())
		return
	}
	fmt.Fprintf(e.out, "%s\n", data)
}

// progress shows a step of long work: a line of JSON, or text to people.
func (e *env) progress(text string) {
	switch {
	case e.json:
		e.print(map[string]string{"progress": text})
	case interactive(e.err):
		fmt.Fprintln(e.err, text)
	}
}

func interactive(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// drain shows a stream of progress to its end.
func (e *env) drain(stream interface {
	Receive() (*controlapi.Progress, error)
	Close() error
}, err error) error {
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		p, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e.progress(p.GetText())
	}
}

func (e *env) urls(sys *controlapi.System) {
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, a := range sys.GetAddresses() {
		fmt.Fprintf(w, "%s\t%s\n", a.GetName(), a.GetUrl())
	}
}

func (e *env) table(sys *controlapi.System) {
	ready := "ready"
	if !sys.GetReady() {
		ready = "not ready"
	}
	fmt.Fprintf(e.out, "%s  %s  topology %s  pid %d  up %s\n\n", sys.GetName(), ready, sys.GetTopology(), sys.GetPid(), since(sys.GetStarted().AsTime()))
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INSTANCE\tSERVICES\tPHASE\tSINCE\tPID\tADDRESS\tVERSION\tRESTARTS")
	for _, p := range sys.GetPrograms() {
		services := ""
		if len(p.GetServices()) > 1 {
			services = fmt.Sprintf("%d services", len(p.GetServices()))
		} else if p.GetKind() == "role" {
			services = "(role)"
		} else {
			services = p.GetServices()[0]
		}
		for _, i := range p.GetInstances() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\n", i.GetId(), services, i.GetPhase(), since(i.GetSince().AsTime()), i.GetPid(), i.GetAddress(), i.GetVersion(), i.GetRestarts())
		}
		if len(p.GetInstances()) == 0 {
			phase := "not started"
			if p.GetReplicas() == 0 {
				phase = "held down"
			}
			fmt.Fprintf(w, "-\t%s\t%s\t\t\t\t\t\n", p.GetName(), phase)
		}
	}
	w.Flush()
	for _, p := range sys.GetPrograms() {
		if p.GetBusy() != "" {
			fmt.Fprintf(e.out, "\n%s is %s\n", p.GetName(), p.GetBusy())
		}
		if p.GetProblem() != "" {
			fmt.Fprintf(e.out, "\n%s: %s\n", p.GetName(), p.GetProblem())
		}
		for _, i := range p.GetInstances() {
			if i.GetPhase() != "ready" && i.GetReason() != "" {
				fmt.Fprintf(e.out, "\n%s: %s\n", i.GetId(), i.GetReason())
			}
		}
	}
	fmt.Fprintln(e.out)
	e.urls(sys)
}

func since(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}
