// Package cluster runs several identical nodes of Marque on one PostgreSQL, behind
// a TCP load balancer that speaks the PROXY protocol: the whole of an
// installation that outgrew one machine, on this one.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/marque-id/marque/conformance/server"
)

// Options say what to run.
type Options struct {
	Binary   string            // path of the marque binary
	Dir      string            // for the files of the nodes; empty, private
	Database string            // URL of an empty PostgreSQL database
	Nodes    int               // how many
	Env      map[string]string // further MARQUE_… settings of all nodes
}

// Cluster is what runs.
type Cluster struct {
	Issuer string // the balancer's URL, which stands in every token
	Nodes  []*server.Server

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Start returns when all nodes answer. Close ends them.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	// The issuer names the balancer, so its port is taken before any node is
	// installed.
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := front.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	c := &Cluster{Issuer: "https://localhost:" + port}
	defer func() {
		if err != nil {
			err = errors.Join(err, front.Close(), c.Close())
		}
	}()

	env := map[string]string{"MARQUE_ISSUER": c.Issuer, "MARQUE_PROXY_PROTOCOL_FROM": balancerAddress}
	for name, value := range o.Env {
		env[name] = value
	}
	first := server.Options{Binary: o.Binary, Database: o.Database, Env: env}
	for n := range o.Nodes {
		dir := filepath.Join(o.Dir, fmt.Sprintf("node-%d", n+1))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		node := first
		node.Dir = dir
		if n == 0 {
			first.Dir = dir
		} else if node, err = server.Beside(ctx, first, dir); err != nil {
			return nil, err
		}
		s, err := server.Start(ctx, node)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, s)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	b := newBalancer(c.Nodes, front)
	c.running.Go(func() { b.run(life) })
	return c, nil
}

// Balanced is a node's client whose calls go through the balancer, to any node.
func (c *Cluster) Balanced() *server.Server {
	s := *c.Nodes[0]
	s.URL = c.Issuer
	return &s
}

// Close stops what still runs.
func (c *Cluster) Close() error {
	if c.stop != nil {
		c.stop()
		c.running.Wait()
	}
	var problems []error
	for _, node := range c.Nodes {
		if node.Running() {
			problems = append(problems, node.Stop())
		}
	}
	return errors.Join(problems...)
}
