package wire

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/metadata"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/middleware/tracing"
	kratos "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"

	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
)

// zrpcServe is zrpc with its defaults. It takes an address, not a listener.
func zrpcServe(ln net.Listener) error {
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	logx.SetLevel(logx.SevereLevel)
	var c zrpc.RpcServerConf
	if err := conf.FillDefault(&c); err != nil {
		return err
	}
	c.Name, c.ListenOn, c.DevServer.Enabled = "echo", addr, false
	c.Log.Level, c.Log.Stat = "severe", false
	s, err := zrpc.NewServer(c, func(g *grpc.Server) { g.RegisterService(&echoDesc, echoServer{}) })
	if err != nil {
		return err
	}
	s.Start()
	return nil
}

func zrpcDial(addr string) (Caller, error) {
	logx.SetLevel(logx.SevereLevel)
	var c zrpc.RpcClientConf
	if err := conf.FillDefault(&c); err != nil {
		return nil, err
	}
	c.Target = addr
	client, err := zrpc.NewClient(c)
	if err != nil {
		return nil, err
	}
	return invoker(client.Conn()), nil
}

func kratosServe(ln net.Listener) error {
	log.SetLogger(log.NewStdLogger(io.Discard))
	s := kratos.NewServer(kratos.Listener(ln), kratos.Timeout(5*time.Second),
		kratos.Middleware(recovery.Recovery(), tracing.Server(tracing.WithTracerProvider(tracer())), metadata.Server()))
	s.RegisterService(&echoDesc, echoServer{})
	return s.Start(context.Background())
}

func kratosDial(addr string) (Caller, error) {
	chain := []middleware.Middleware{recovery.Recovery(), tracing.Client(tracing.WithTracerProvider(tracer())), metadata.Client()}
	c, err := kratos.DialInsecure(context.Background(), kratos.WithEndpoint(addr), kratos.WithTimeout(5*time.Second), kratos.WithMiddleware(chain...))
	if err != nil {
		return nil, err
	}
	return invoker(c), nil
}
