// Package rpc is the server adapter of the consumer service: it checks who
// calls and turns messages into calls and errors into codes.
package rpc

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/internal/consumers"
	"github.com/cleave-go/cleave/rpi"
)

const maxBatch = 200

// Server serves consumerapi.ConsumerService.
type Server struct {
	consumers *consumers.Consumers
	epoch     string
}

// New returns a server of cs, whose events are of epoch.
func New(cs *consumers.Consumers, epoch string) *Server {
	return &Server{consumers: cs, epoch: epoch}
}

// RegisterConsumer registers the caller, or, for an admin, somebody new.
func (s *Server) RegisterConsumer(ctx context.Context, req *consumerapi.RegisterConsumerRequest) (*consumerapi.Consumer, error) {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return nil, err
	}
	c := consumers.Consumer{ID: caller.Subject, FirstName: req.FirstName, LastName: req.LastName, CardToken: req.CardToken}
	if caller.Has("admin") {
		c.ID = event.NewID().String()
	}
	commit, err := s.consumers.Register(ctx, c)
	if err != nil {
		return nil, wireError(err)
	}
	s.committed(ctx, commit)
	return message(c), nil
}

// SetPaymentCard changes the caller's own card, or, for an admin, anybody's.
func (s *Server) SetPaymentCard(ctx context.Context, req *consumerapi.SetPaymentCardRequest) (*consumerapi.Consumer, error) {
	if err := mayActFor(ctx, req.ConsumerId); err != nil {
		return nil, err
	}
	c, commit, err := s.consumers.SetCard(ctx, req.ConsumerId, req.CardToken)
	if err != nil {
		return nil, wireError(err)
	}
	s.committed(ctx, commit)
	return message(c), nil
}

// GetConsumer returns the caller, or, for an admin, anybody.
func (s *Server) GetConsumer(ctx context.Context, req *consumerapi.GetConsumerRequest) (*consumerapi.Consumer, error) {
	if err := mayActFor(ctx, req.Id); err != nil {
		return nil, err
	}
	found, err := s.consumers.BatchGet(ctx, []string{req.Id})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, wireError(consumers.ErrUnknown)
	}
	return message(found[0]), nil
}

// BatchGet returns those of the ids that exist and the caller may see: a
// consumer sees itself; a restaurant sees the names behind its orders, which it
// got the ids from; an admin sees all.
func (s *Server) BatchGet(ctx context.Context, req *consumerapi.BatchGetRequest) (*consumerapi.BatchGetResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "restaurant", "courier", "admin")
	if err != nil {
		return nil, err
	}
	if len(req.Ids) > maxBatch {
		return nil, rpi.InvalidField("ids", fmt.Sprintf("has %d entries; at most %d are answered", len(req.Ids), maxBatch))
	}
	ids := req.Ids
	if caller.Has("consumer") {
		ids = only(ids, caller.Subject)
	}
	found, err := s.consumers.BatchGet(ctx, ids)
	if err != nil {
		return nil, err
	}
	res := &consumerapi.BatchGetResponse{}
	for _, c := range found {
		res.Consumers = append(res.Consumers, message(c))
	}
	return res, nil
}

func (s *Server) committed(ctx context.Context, c eventsource.Commit) {
	rpi.Committed(ctx, "consumer", s.epoch, c.Position)
}

func mayActFor(ctx context.Context, consumerID string) error {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return err
	}
	if !caller.Has("admin") && caller.Subject != consumerID {
		return connect.NewError(connect.CodeNotFound, consumers.ErrUnknown.Error())
	}
	return nil
}

func only(ids []string, id string) []string {
	for _, have := range ids {
		if have == id {
			return []string{id}
		}
	}
	return nil
}

func wireError(err error) error {
	var field *consumers.FieldError
	switch {
	case errors.As(err, &field):
		return rpi.InvalidField(field.Field, field.Reason)
	case errors.Is(err, consumers.ErrUnknown):
		return connect.NewError(connect.CodeNotFound, consumers.ErrUnknown.Error())
	case errors.Is(err, consumers.ErrRegistered):
		return connect.NewError(connect.CodeAlreadyExists, consumers.ErrRegistered.Error())
	default:
		return err
	}
}

func message(c consumers.Consumer) *consumerapi.Consumer {
	return &consumerapi.Consumer{Id: c.ID, FirstName: c.FirstName, LastName: c.LastName}
}
