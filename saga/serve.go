package saga

import (
	"errors"
	"net/http"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/opsapi"
)

// Operations is what people ask of the orchestrator with "cleave saga"; a
// service mounts it with Host.Operate("saga", orchestrator.Operations()).
func (r *Orchestrator) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", r.serveList)
	mux.HandleFunc("GET /show", r.serveShow)
	mux.HandleFunc("POST /resume", r.serveOrder(func(req *http.Request, id event.ID) error { return r.Resume(req.Context(), id) }))
	mux.HandleFunc("POST /undo", r.serveOrder(func(req *http.Request, id event.ID) error {
		return r.Undo(req.Context(), id, req.FormValue("reason"))
	}))
	return mux
}

func (r *Orchestrator) serveList(w http.ResponseWriter, req *http.Request) {
	var list []Status
	var err error
	switch req.FormValue("which") {
	case "stuck":
		list, err = r.Stuck(req.Context())
	case "ended":
		list, err = r.List(req.Context(), true)
	default:
		list, err = r.List(req.Context(), false)
	}
	all := []opsapi.Saga{}
	for _, st := range list {
		all = append(all, line(st))
	}
	opsapi.Answer(w, all, err, http.StatusInternalServerError)
}

func line(st Status) opsapi.Saga {
	s := opsapi.Saga{ID: st.ID.String(), Saga: st.Saga, Version: st.Version, Key: st.Key, State: string(st.State), Step: st.Step,
		Attempts: st.Attempts, Stuck: st.Stuck, Error: st.Error, Due: st.Due, Started: st.Started, Updated: st.Updated}
	if st.Failure.Code != "" {
		s.Failure = st.Failure.Step + ": " + st.Failure.Code + ": " + st.Failure.Message
	}
	return s
}

func (r *Orchestrator) serveShow(w http.ResponseWriter, req *http.Request) {
	id, err := event.ParseID(req.FormValue("id"))
	if err != nil {
		opsapi.Answer(w, nil, err, http.StatusBadRequest)
		return
	}
	st, data, err := r.Show(req.Context(), id)
	s := line(st)
	s.Data = data
	opsapi.Answer(w, s, err, statusOf(err))
}

func (r *Orchestrator) serveOrder(order func(*http.Request, event.ID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		id, err := event.ParseID(req.FormValue("id"))
		if err != nil {
			opsapi.Answer(w, nil, err, http.StatusBadRequest)
			return
		}
		err = order(req, id)
		opsapi.Answer(w, struct{}{}, err, statusOf(err))
	}
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, ErrPastPivot):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}
