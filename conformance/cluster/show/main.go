// Command show runs a cluster for a look, until it is interrupted: three nodes on
// a PostgreSQL of its own, behind a balancer. It prints what to try.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/marque-id/marque/conformance/cluster"
	"github.com/marque-id/marque/conformance/postgres"
)

func main() {
	binary := flag.String("marque", "bin/marque", "the marque binary")
	nodes := flag.Int("nodes", 3, "how many nodes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *nodes); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, nodes int) error {
	path, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "marque-cluster-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// What runs is stopped in order below, not by the signal.
	life := context.WithoutCancel(ctx)
	database, err := postgres.Start(life)
	if err != nil {
		return err
	}
	defer database.Stop()
	url, err := database.Database(life)
	if err != nil {
		return err
	}
	c, err := cluster.Start(life, cluster.Options{Binary: path, Dir: dir, Database: url, Nodes: nodes})
	if err != nil {
		return err
	}
	tell(c)
	<-ctx.Done()
	fmt.Println("\nStopping.")
	_ = c.Close() // a terminal's Ctrl-C has reached the nodes too: they end by either
	return nil
}

func tell(c *cluster.Cluster) {
	first := c.Nodes[0]
	secret := filepath.Join(first.Dir(), "admin-secret")
	if err := os.WriteFile(secret, []byte(first.AdminSecret), 0o600); err != nil {
		secret = "(could not be written: " + err.Error() + ")"
	}
	fmt.Printf("%d nodes behind %s, on one PostgreSQL. Each answers by itself too:\n\n", len(c.Nodes), c.Issuer)
	for i, node := range c.Nodes {
		fmt.Printf("  node %d  %s  readiness %s/readyz  pid %d  log %s\n",
			i+1, node.URL, node.Operations, node.PID(), filepath.Join(node.Dir(), "server.log"))
	}
	fmt.Printf(`
In another terminal:

  ISSUER=%s
  call() { curl -sS --cacert %s "$@"; }
  TOKEN=$(call "$ISSUER/oauth2/token" -d grant_type=client_credentials -d client_id=%s \
    --data-urlencode client_secret@%s | grep -o '"access_token":"[^"]*"' | cut -d '"' -f 4)
  call "$ISSUER/v1/whoami" -H "Authorization: Bearer $TOKEN"
  kill -9 %d                # one node dies; ask again, as often as you like

Ctrl-C ends all of it and removes its files.
`, c.Issuer, filepath.Join(first.Dir(), "cert.pem"), first.AdminID, secret, c.Nodes[len(c.Nodes)-1].PID())
}
