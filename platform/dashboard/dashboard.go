package dashboard

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/internal/local"
)

//go:embed page.html instance.html error.html style.css
var files embed.FS

// Lister is what the dashboard asks the registry.
type Lister interface {
	List(context.Context, *registryapi.ListRequest) (*registryapi.ListResponse, error)
}

// Dashboard renders the pages.
type Dashboard struct {
	control  controlapi.ControlServiceClient
	registry Lister
	pages    *template.Template
}

// New makes a dashboard of the system behind a control socket. Without a
// registry (nil) the map has no edges.
func New(control controlapi.ControlServiceClient, registry Lister) *Dashboard {
	pages := template.Must(template.New("").Funcs(template.FuncMap{"since": since, "clip": clip}).ParseFS(files, "*.html"))
	return &Dashboard{control: control, registry: registry, pages: pages}
}

// Handler serves the pages.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.page(d.index, "page.html"))
	mux.HandleFunc("GET /index.json", d.twin(d.index))
	mux.HandleFunc("GET /instances/{id}", func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutSuffix(r.PathValue("id"), ".json"); ok {
			r.SetPathValue("id", id)
			d.twin(d.instance)(w, r)
			return
		}
		d.page(d.instance, "instance.html")(w, r)
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "style.css")
	})
	return local.Guard(headers(mux))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Index is what the first page shows.
type Index struct {
	System System    `json:"system"`
	Roles  []Program `json:"roles"`
	// Services are programs: a process, or several equal ones, and what they host.
	Services []Program `json:"services"`
	Map      Map       `json:"map"`
	At       time.Time `json:"at"`
}

// System is the head of the page.
type System struct {
	Name      string    `json:"name"`
	Dir       string    `json:"dir"`
	Topology  string    `json:"topology"`
	PID       int32     `json:"pid"`
	Started   time.Time `json:"started"`
	Ready     bool      `json:"ready"`
	Addresses []Address `json:"addresses"`
}

// Address is a fixed address of the system.
type Address struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Web reports whether a browser can open the address.
func (a Address) Web() bool { return strings.HasPrefix(a.URL, "http") }

// Program is a role, or a program that hosts services.
type Program struct {
	Name      string     `json:"name"`
	Run       string     `json:"run"`
	Version   string     `json:"version,omitempty"`
	Busy      string     `json:"busy,omitempty"`
	Problem   string     `json:"problem,omitempty"`
	Services  []string   `json:"services"`
	Replicas  int32      `json:"replicas"`
	Instances []Instance `json:"instances"`
}

// Instance is one process.
type Instance struct {
	ID       string    `json:"id"`
	Phase    string    `json:"phase"`
	Reason   string    `json:"reason,omitempty"`
	Address  string    `json:"address,omitempty"`
	Admin    string    `json:"admin_address,omitempty"`
	Version  string    `json:"version,omitempty"`
	PID      int32     `json:"pid"`
	Restarts int32     `json:"restarts"`
	Since    time.Time `json:"since"`
	Log      []string  `json:"log"` // the last lines
}

func (d *Dashboard) index(r *http.Request) (any, error) {
	ctx := r.Context()
	sys, err := d.control.Status(ctx, &controlapi.StatusRequest{})
	if err != nil {
		return nil, err
	}
	v := &Index{At: time.Now(), System: System{
		Name: sys.GetName(), Dir: sys.GetDir(), Topology: sys.GetTopology(), PID: sys.GetPid(),
		Started: sys.GetStarted().AsTime(), Ready: sys.GetReady(),
	}}
	for _, a := range sys.GetAddresses() {
		v.System.Addresses = append(v.System.Addresses, Address{Name: a.GetName(), URL: a.GetUrl()})
	}
	logs := d.logs(ctx, nil, 5)
	for _, p := range sys.GetPrograms() {
		if program := programOf(p, logs); p.GetKind() == "role" {
			v.Roles = append(v.Roles, program)
		} else {
			v.Services = append(v.Services, program)
		}
	}
	v.Map = layout(v.Services, d.edges(ctx, v.Services))
	return v, nil
}

func (d *Dashboard) instance(r *http.Request) (any, error) {
	id := r.PathValue("id")
	sys, err := d.control.Status(r.Context(), &controlapi.StatusRequest{})
	if err != nil {
		return nil, err
	}
	for _, p := range sys.GetPrograms() {
		for _, i := range p.GetInstances() {
			if i.GetId() == id {
				return instanceOf(i, d.logs(r.Context(), []string{id}, 300)), nil
			}
		}
	}
	return nil, errNotFound
}

var errNotFound = errors.New("no such instance; it may have been replaced")

// logs returns the last lines of instances. A page without them is better than
// none.
func (d *Dashboard) logs(ctx context.Context, names []string, n int32) map[string][]string {
	lines := map[string][]string{}
	stream, err := d.control.Logs(ctx, &controlapi.LogsRequest{Names: names, Lines: n})
	if err != nil {
		return lines
	}
	defer stream.Close()
	for {
		line, err := stream.Receive()
		if err != nil {
			return lines
		}
		lines[line.GetInstance()] = append(lines[line.GetInstance()], line.GetText())
	}
}

func programOf(p *controlapi.Program, logs map[string][]string) Program {
	v := Program{
		Name: p.GetName(), Run: p.GetRun(), Version: p.GetVersion(), Busy: p.GetBusy(), Problem: p.GetProblem(),
		Services: p.GetServices(), Replicas: p.GetReplicas(),
	}
	for _, i := range p.GetInstances() {
		v.Instances = append(v.Instances, instanceOf(i, logs))
	}
	return v
}

func instanceOf(i *controlapi.Instance, logs map[string][]string) Instance {
	return Instance{
		ID: i.GetId(), Phase: i.GetPhase(), Reason: i.GetReason(), Address: i.GetAddress(), Admin: i.GetAdminAddress(),
		Version: i.GetVersion(), PID: i.GetPid(), Restarts: i.GetRestarts(), Since: i.GetSince().AsTime(), Log: logs[i.GetId()],
	}
}

// edges asks the registry who follows which services. A follower is named after
// its instance.
func (d *Dashboard) edges(ctx context.Context, programs []Program) []Edge {
	if d.registry == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	list, err := d.registry.List(ctx, &registryapi.ListRequest{})
	if err != nil {
		return nil
	}
	owner := map[string]string{}
	for _, p := range programs {
		for _, i := range p.Instances {
			owner[i.ID] = p.Name
		}
	}
	var edges []Edge
	for _, w := range list.GetWatchers() {
		name := w.GetName() // of a service's process: its services, a slash, its instance
		from, ok := owner[name[strings.LastIndexByte(name, '/')+1:]]
		if !ok {
			continue
		}
		for _, to := range w.GetServices() {
			if e := (Edge{from, to}); !slices.Contains(edges, e) {
				edges = append(edges, e)
			}
		}
	}
	return edges
}

func (d *Dashboard) page(view func(*http.Request) (any, error), name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := view(r)
		status := statusOf(err)
		if err != nil {
			v, name = map[string]any{"Error": err.Error(), "Retry": status != http.StatusNotFound}, "error.html"
		}
		var page bytes.Buffer
		if err := d.pages.ExecuteTemplate(&page, name, v); err != nil {
			http.Error(w, "the page cannot be rendered: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.Copy(w, &page)
	}
}

func (d *Dashboard) twin(view func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := view(r)
		if err != nil {
			v = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(statusOf(err))
		_ = json.NewEncoder(w).Encode(v)
	}
}

func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, errNotFound):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

func since(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}

func clip(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return s
}
