package service

import (
	"net"
	"strings"
)

// notify tells the supervisor, as sd_notify does.
func (p *process) notify(state string) error {
	name := p.settings.getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if strings.HasPrefix(name, "@") { // the abstract name space of Linux
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
