package grpcwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// service answers by functions that a test brings.
type service struct {
	echoapi.UnimplementedEchoServiceHandler
	echo  func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	count func(context.Context, *echoapi.EchoRequest, *echoapi.EchoServiceCountUpServerStream) error
}

func (s *service) Echo(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if s.echo == nil {
		return &echoapi.EchoResponse{Text: r.GetText(), Number: r.GetNumber(), Data: r.GetData(), List: r.GetList()}, nil
	}
	return s.echo(ctx, r)
}
