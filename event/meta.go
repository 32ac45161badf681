package event

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// WithMeta returns a context in which the events recorded carry m: a server
// sets it for each request, a consumer for each message.
func WithMeta(ctx context.Context, m Meta) context.Context {
	return context.WithValue(ctx, metaKey{}, m)
}

// WithMetaFunc is WithMeta with what f returns. f is called once, when it is
// first asked for; it is safe for that to happen on any goroutine.
func WithMetaFunc(ctx context.Context, f func() Meta) context.Context {
	return &lazyMeta{Context: ctx, f: f}
}

// MetaFrom returns what WithMeta or WithMetaFunc set, or the zero Meta.
func MetaFrom(ctx context.Context) Meta {
	switch m := ctx.Value(metaKey{}).(type) {
	case Meta:
		return m
	case *lazyMeta:
		m.once.Do(func() { m.meta = m.f() })
		return m.meta
	}
	return Meta{}
}

type metaKey struct{}

// lazyMeta is a context with its Meta, made at once.
type lazyMeta struct {
	context.Context
	f    func() Meta
	once sync.Once
	meta Meta
}

func (l *lazyMeta) Value(key any) any {
	if key == (metaKey{}) {
		return l
	}
	return l.Context.Value(key)
}

// Merge returns m with what over sets in its place: non-empty fields replace
// those of m, Tags are added, Ext is added key by key. Neither is changed.
func (m Meta) Merge(over Meta) Meta {
	replace := func(field *string, with string) {
		if with != "" {
			*field = with
		}
	}
	replace(&m.Correlation, over.Correlation)
	replace(&m.Causation, over.Causation)
	replace(&m.Tenant, over.Tenant)
	replace(&m.Actor, over.Actor)
	replace(&m.TraceParent, over.TraceParent)
	m.Tags = slices.Clone(m.Tags)
	for _, tag := range over.Tags {
		if !slices.Contains(m.Tags, tag) {
			m.Tags = append(m.Tags, tag)
		}
	}
	if len(over.Ext) > 0 {
		ext := maps.Clone(m.Ext)
		if ext == nil {
			ext = map[string]string{}
		}
		maps.Copy(ext, over.Ext)
		m.Ext = ext
	}
	return m
}

// Follows returns the Meta of what is done because of r: the same correlation,
// tenant, actor and trace, caused by r.
func Follows(r Record) Meta {
	m := Meta{
		Correlation: r.Meta.Correlation,
		Causation:   r.ID.String(),
		Tenant:      r.Meta.Tenant,
		Actor:       r.Meta.Actor,
		TraceParent: r.Meta.TraceParent,
	}
	if m.Correlation == "" {
		m.Correlation = m.Causation
	}
	return m
}
