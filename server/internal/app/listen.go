package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/server/internal/proxy"
)

// listen opens the main listener. There is no plaintext one.
//
// The connections it hands out are *tls.Conn themselves, unwrapped: fasthttp
// finds a peer's certificate only there. What unwraps the PROXY protocol stands
// below TLS.
func (a *App) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l = lingering{l}
	if from := a.cfg.Proxy.ProtocolFrom; len(from) > 0 {
		l = &proxy.Listener{Listener: l, From: from, Refused: a.refusedHeader()}
	}
	return &closedOnce{Listener: tls.NewListener(l, a.certificates.config())}, nil
}

// noHeaderEvery is how often a balancer that sends no header is logged.
const noHeaderEvery = time.Minute

// refusedHeader counts the connections of balancers that send no acceptable
// header, and logs one now and then: there would be as many lines as clients.
func (a *App) refusedHeader() func(netip.Addr, error) {
	var last atomic.Int64
	return func(peer netip.Addr, err error) {
		a.metrics.ProxyHeaderRefused()
		now, before := a.clock.Now().UnixNano(), last.Load()
		if before != 0 && time.Duration(now-before) < noHeaderEvery || !last.CompareAndSwap(before, now) {
			return
		}
		a.log.Warn("a connection of a listed balancer has no acceptable PROXY header and is refused",
			slog.String("key", "proxy.protocol_from"), slog.String("balancer", peer.String()), slog.Any("error", err))
	}
}

// closedOnce lets a listener be closed again without an error: Stop closes it
// first, and fasthttp gives up its own orderly shutdown when its Close fails.
type closedOnce struct {
	net.Listener
	once sync.Once
	err  error
}

// Close closes the listener the first time.
func (l *closedOnce) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}
