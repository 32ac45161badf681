package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/feedapi"
	"github.com/cleave-go/cleave/outbox"
)

// feedHeader carries the proof that the reader of a feed may read the bus.
const feedHeader = "Cleave-Feed"

// feedPrefix is what the path of its procedures begins with.
const feedPrefix = "/" + feedapi.FeedServiceName + "/"

// A page of a feed ends at the first of these.
const (
	feedMessages = 512
	feedBytes    = 1 << 20
	feedTime     = 2 * time.Second
)

// feedKey is what those who have the bus's credentials know. Without
// credentials everybody may read the bus, and the feed too.
func feedKey(natsURL string) string {
	node, _, _ := strings.Cut(natsURL, ",") // all nodes take the same credentials
	u, err := url.Parse(strings.TrimSpace(node))
	if err != nil || u.User == nil {
		return ""
	}
	sum := sha256.Sum256([]byte("cleave feed " + u.User.String()))
	return hex.EncodeToString(sum[:])
}

// feedServer is the owner's side: the tables of a process's services, which may
// share a listener.
type feedServer struct{ process *process }

// source returns the table of a service that runs here, nil if there is none.
func (s *feedServer) source(name string) bus.Source {
	for _, h := range s.process.hosts {
		if h.name == name && h.db != nil {
			return outbox.Source(h.name, h.db)
		}
	}
	return nil
}

// Read implements feedapi.FeedServiceHandler.
func (s *feedServer) Read(ctx context.Context, req *feedapi.ReadRequest) (*feedapi.ReadResponse, error) {
	var key string
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		key = info.RequestHeader().Get(feedHeader)
	}
	if subtle.ConstantTimeCompare([]byte(feedKey(s.process.settings.natsURL)), []byte(key)) != 1 {
		return nil, connect.NewError(connect.CodePermissionDenied, "the feed is for services of this system")
	}
	source := s.source(req.GetSource())
	if source == nil {
		return nil, connect.NewError(connect.CodeNotFound, "no service of that name has a table here")
	}
	f := bus.Filter{Source: source.Name(), Subjects: req.GetSubjects(), Lane: int(req.GetLane()), Of: int(req.GetOf())}
	limit := feedMessages
	if n := int(req.GetLimit()); n > 0 {
		limit = min(limit, n)
	}
	res, bytes, begin := &feedapi.ReadResponse{}, 0, time.Now()
	after := bus.Place{Epoch: req.GetEpoch(), Position: event.Position(req.GetPosition())}
	for m, err := range (bus.Tables{source}).Read(ctx, f, after) {
		if err != nil {
			return nil, err
		}
		res.Epoch, res.Position = m.Place.Epoch, uint64(m.Place.Position)
		if m.Subject != "" {
			out, err := feedMessage(m)
			if err != nil {
				return nil, err
			}
			res.Messages = append(res.Messages, out)
			bytes += len(m.Data)
		}
		if len(res.GetMessages()) >= limit || bytes >= feedBytes || time.Since(begin) > feedTime {
			return res, nil
		}
	}
	res.End = true
	return res, nil
}

func feedMessage(m bus.Message) (*feedapi.Message, error) {
	meta, err := json.Marshal(m.Meta)
	return &feedapi.Message{
		Epoch: m.Place.Epoch, Position: uint64(m.Place.Position), Id: m.ID[:], Category: m.Stream.Category, StreamId: m.Stream.ID,
		Version: m.Version, Type: m.Type, Schema: int32(m.Schema), RecordedAt: m.Time.UnixMicro(), Meta: meta, Data: m.Data,
	}, err
}

// serveFeed offers the table of a service to the services that follow it. The same
// procedure is offered by all services of a process that have a table.
func (h *Host) serveFeed() {
	feedapi.RegisterFeedServiceHandler(h.server, &feedServer{h.process})
}

// feedOnce mounts the feed of the services that share a listener once.
type feedOnce struct {
	*http.ServeMux
	mounted map[string]bool // patterns
}

// Handle leaves out what is there.
func (m *feedOnce) Handle(pattern string, h http.Handler) {
	if strings.HasPrefix(pattern, feedPrefix) {
		if m.mounted[pattern] {
			return
		}
		m.mounted[pattern] = true
	}
	m.ServeMux.Handle(pattern, h)
}

// feed is the reader's side: bus.Feed over calls to the owners.
type feed struct{ process *process }

// Read implements bus.Feed. Pages that fail are the call's to try again.
func (f feed) Read(ctx context.Context, filter bus.Filter, after bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		select {
		case <-f.process.composed:
		case <-ctx.Done():
			return
		}
		client := feedapi.NewFeedServiceClient(f.process.hosts[0].Client(filter.Source))
		for {
			call, info := connect.NewClientContext(ctx)
			info.RequestHeader().Set(feedHeader, feedKey(f.process.settings.natsURL))
			res, err := client.Read(call, &feedapi.ReadRequest{
				Epoch: after.Epoch, Position: uint64(after.Position), Source: filter.Source, Subjects: filter.Subjects, Lane: int32(filter.Lane), Of: int32(filter.Of),
			})
			if err != nil {
				yield(bus.Message{}, fmt.Errorf("read the events of %s from their owner: %w", filter.Source, err))
				return
			}
			for _, out := range res.GetMessages() {
				m, err := readMessage(filter.Source, out)
				if !yield(m, err) || err != nil {
					return
				}
			}
			after = bus.Place{Epoch: res.GetEpoch(), Position: event.Position(res.GetPosition())}
			if !yield(bus.Message{Source: filter.Source, Place: after}, nil) || res.GetEnd() {
				return
			}
		}
	}
}

func readMessage(source string, out *feedapi.Message) (bus.Message, error) {
	m := bus.Message{Source: source, Place: bus.Place{Epoch: out.GetEpoch(), Position: event.Position(out.GetPosition())}}
	if len(out.GetId()) != len(m.ID) {
		return m, fmt.Errorf("the event at position %d of %s has a damaged ID", out.GetPosition(), source)
	}
	copy(m.ID[:], out.GetId())
	m.Stream = event.Stream{Category: out.GetCategory(), ID: out.GetStreamId()}
	m.Version, m.Position, m.Type, m.Schema = out.GetVersion(), m.Place.Position, out.GetType(), int(out.GetSchema())
	m.Time, m.Data = time.UnixMicro(out.GetRecordedAt()).UTC(), out.GetData()
	if err := json.Unmarshal(out.GetMeta(), &m.Meta); err != nil {
		return m, fmt.Errorf("the metadata of the event at position %d of %s: %w", out.GetPosition(), source, err)
	}
	m.Subject = bus.Subject(source, m.Record)
	return m, nil
}
