package control_test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
)

func TestASupervisorThatDiesDuringACallIsNotRunning(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	call := make(chan error, 1)
	go func() {
		_, err := control.Dial(socket).Status(t.Context(), &controlapi.StatusRequest{})
		call <- err
	}()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	conn.Close() // with the request unread, which resets the connection
	if err := <-call; !control.NotRunning(err) {
		t.Errorf("got %v", err)
	}
}
