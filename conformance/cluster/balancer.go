package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/marque-id/marque/conformance/server"
)

// balancerAddress is where the balancer's connections to the nodes come from, and
// the one address from which nodes take the PROXY protocol.
const balancerAddress = "127.0.0.2"

// lookEvery is how often the balancer asks each node whether it is ready.
const lookEvery = 200 * time.Millisecond

// balancer hands each connection to the next node that is ready, as a TCP load
// balancer does: it passes TLS through and sees none of it. What it adds is a
// PROXY protocol v2 header with the client's address.
type balancer struct {
	listener net.Listener
	nodes    []*server.Server

	mu    sync.Mutex
	ready []bool // of each node, as it was last seen
	next  int
}

func newBalancer(nodes []*server.Server, front net.Listener) *balancer {
	return &balancer{listener: front, nodes: nodes, ready: slices.Repeat([]bool{true}, len(nodes))}
}

// run serves until ctx ends.
func (b *balancer) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	stop := context.AfterFunc(ctx, func() { _ = b.listener.Close() })
	defer stop()
	for i := range b.nodes {
		tasks.Go(func() { b.watch(ctx, i) })
	}
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		tasks.Go(func() { b.pass(ctx, client) })
	}
}

// watch asks a node at its operations listener.
func (b *balancer) watch(ctx context.Context, i int) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ready := isReady(ctx, b.nodes[i])
		b.mu.Lock()
		b.ready[i] = ready
		b.mu.Unlock()
	}
}

func isReady(ctx context.Context, node *server.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, node.Operations+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := node.HTTP.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// pass joins a client with a node until either goes away. A node that cannot be
// reached is passed over at once.
func (b *balancer) pass(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	for range b.nodes {
		i := b.pick()
		if i < 0 {
			return
		}
		dialer := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancerAddress)}}
		node, err := dialer.DialContext(ctx, "tcp", b.nodes[i].Address)
		if err != nil {
			b.mu.Lock()
			b.ready[i] = false
			b.mu.Unlock()
			continue
		}
		join(ctx, client, node)
		return
	}
}

// pick gives the next node that is ready; -1 when none is.
func (b *balancer) pick() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.nodes {
		i := b.next
		b.next = (b.next + 1) % len(b.nodes)
		if b.ready[i] {
			return i
		}
	}
	return -1
}

func join(ctx context.Context, client, node net.Conn) {
	defer func() { _ = node.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(client.Close(), node.Close()) })
	defer stop()
	header := proxyproto.HeaderProxyFromAddrs(2, client.RemoteAddr(), client.LocalAddr())
	if _, err := header.WriteTo(node); err != nil {
		return
	}
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{client: node, node: client} {
		both.Go(func() {
			_, _ = io.Copy(to, from)
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
