package rpi

import (
	"net"
	"net/http"
	"time"
)

// idleFor is how long a connection is kept that no call uses. It is shorter
// than the time for which a stopping server keeps idle connections open, so
// that no call is sent into one that closes.
const idleFor = time.Second

// newPool returns the connections to one instance. It repeats no
// request that a server may have seen: requests are POSTs without an
// Idempotency-Key, which net/http sends again only if nothing of them was
// written.
func newPool() *http.Transport {
	only1 := &http.Protocols{}
	only1.SetHTTP1(true)
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 10 * time.Second}).DialContext,
		Protocols:           only1,
		MaxIdleConnsPerHost: 256,
		MaxConnsPerHost:     512,
		IdleConnTimeout:     idleFor,
		DisableCompression:  true, // connect compresses messages itself
	}
}
