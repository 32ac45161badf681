// Package rpc is the server adapter of the accounting service: it checks who
// calls and turns messages into calls.
package rpc

import (
	"context"
	"fmt"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/internal/ledger"
	"github.com/cleave-go/cleave/rpi"
)

const (
	maxBatch = 200
	currency = "USD"
)

// Server serves accountingapi.AccountingService.
type Server struct{ ledger *ledger.Ledger }

// New returns a server of l.
func New(l *ledger.Ledger) *Server { return &Server{ledger: l} }

// BatchGetPayments returns those payments that exist and the caller may see: a
// consumer its own, an admin all.
func (s *Server) BatchGetPayments(ctx context.Context, req *accountingapi.BatchGetPaymentsRequest) (*accountingapi.BatchGetPaymentsResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "restaurant", "courier", "admin")
	if err != nil {
		return nil, err
	}
	if len(req.OrderIds) > maxBatch {
		return nil, rpi.InvalidField("orderIds", fmt.Sprintf("has %d entries; at most %d are answered", len(req.OrderIds), maxBatch))
	}
	found, err := s.ledger.BatchGet(ctx, req.OrderIds)
	if err != nil {
		return nil, err
	}
	res := &accountingapi.BatchGetPaymentsResponse{}
	for _, p := range found {
		if caller.Has("admin") || caller.Subject == p.ConsumerID {
			res.Payments = append(res.Payments, &accountingapi.Payment{
				OrderId: p.OrderID, ConsumerId: p.ConsumerID, Reversed: p.Reversed,
				Authorized: &accountingapi.Money{Amount: p.Total, Currency: p.Currency},
			})
		}
	}
	return res, nil
}

// GetBalance is for admins.
func (s *Server) GetBalance(ctx context.Context, _ *accountingapi.GetBalanceRequest) (*accountingapi.GetBalanceResponse, error) {
	if _, err := auth.Require(ctx, "admin"); err != nil {
		return nil, err
	}
	total, n, err := s.ledger.Balance(ctx)
	if err != nil {
		return nil, err
	}
	return &accountingapi.GetBalanceResponse{Authorized: &accountingapi.Money{Amount: total, Currency: currency}, Authorizations: n}, nil
}
