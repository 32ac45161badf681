package event

import (
	"context"
	"maps"
	"slices"

	"github.com/cleave-go/cleave/internal/metakey"
)

// WithMeta returns a context in which the events recorded carry m: a server
// sets it for each request, a consumer for each message.
func WithMeta(ctx context.Context, m Meta) context.Context {
	return context.WithValue(ctx, metakey.Key{}, m)
}

// MetaFrom returns what WithMeta set, or the zero Meta.
func MetaFrom(ctx context.Context) Meta {
	switch m := ctx.Value(metakey.Key{}).(type) {
	case Meta:
		return m
	case interface{ Meta() Meta }: // made when it is asked for
		return m.Meta()
	}
	return Meta{}
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
