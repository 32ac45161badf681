package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors that callers tell apart; those returned wrap one of them and say more.
var (
	ErrNoToken         = errors.New("no access token")              // the caller is anonymous
	ErrInvalid         = errors.New("the access token is invalid")  // forged, malformed or meant for somebody else
	ErrExpired         = errors.New("the access token has expired") // was valid; the caller needs a new one
	ErrForbidden       = errors.New("the caller may not do this")   // known, but lacks the role
	ErrKeysUnavailable = errors.New("the issuer's keys cannot be had")
)

// Principal is a verified caller.
type Principal struct {
	Subject string   // the token's sub
	Roles   []string // the token's role or roles
}

// Has reports whether the principal has role.
func (p Principal) Has(role string) bool { return slices.Contains(p.Roles, role) }

type key struct{}

type caller struct {
	p   Principal
	raw string
}

// With returns a context of a request made by p, whose verified token is raw.
func With(ctx context.Context, p Principal, raw string) context.Context {
	return context.WithValue(ctx, key{}, caller{p, raw})
}

// From returns the caller of ctx's request; false means that it is anonymous.
func From(ctx context.Context) (Principal, bool) {
	c, ok := ctx.Value(key{}).(caller)
	return c.p, ok
}

// Raw returns the caller's token, to forward to other services, or "".
func Raw(ctx context.Context) string {
	c, _ := ctx.Value(key{}).(caller)
	return c.raw
}

// Require returns the caller if it has one of roles; without roles any caller will do. The error is
// [ErrNoToken] or wraps [ErrForbidden].
func Require(ctx context.Context, roles ...string) (Principal, error) {
	p, ok := From(ctx)
	if !ok {
		return Principal{}, ErrNoToken
	}
	if len(roles) > 0 && !slices.ContainsFunc(roles, p.Has) {
		return Principal{}, fmt.Errorf("%w: it takes the role %s", ErrForbidden, strings.Join(roles, " or "))
	}
	return p, nil
}

// Bearer returns the token of an HTTP Authorization header, or "" if it is empty. Any other scheme than Bearer
// is [ErrInvalid].
func Bearer(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	scheme, raw, ok := strings.Cut(header, " ")
	if raw = strings.Trim(raw, " "); !ok || raw == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("%w: the Authorization header must be \"Bearer\" and a token", ErrInvalid)
	}
	return raw, nil
}
