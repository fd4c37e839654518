package judge

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/marque-id/marque/conformance/runner/proxy"
	"github.com/marque-id/marque/conformance/server"
)

// configurations are the servers that cases may ask for, by name.
func configurations() map[string]map[string]string {
	return map[string]map[string]string{
		"": server.Unlimited(),
		// hurried lets an account make so few calls that a case can make them all.
		"hurried": {
			"MARQUE_LIMITS_TOKENS_PER_MINUTE":         "20",
			"MARQUE_LIMITS_INTROSPECTIONS_PER_MINUTE": "4",
			"MARQUE_LIMITS_MANAGEMENT_PER_MINUTE":     "6",
		},
		// turning lets a key be ready a second and a bit after it was made.
		"turning": turning(),
	}
}

func turning() map[string]string {
	settings := server.Unlimited()
	settings["MARQUE_KEYS_JWKS_MAX_AGE"] = "1s"
	return settings
}

// liveServer is a real server behind a proxy whose URL is its issuer.
type liveServer struct {
	*server.Server
	proxy   *proxy.Proxy
	gateway *gateway     // to PostgreSQL
	back    func() error // ends an outage
}

// live gives the server of a configuration, started when it is first needed.
func (s *Session) live(ctx context.Context, name string) (*liveServer, error) {
	if s.servers[name] != nil {
		return s.servers[name], nil
	}
	settings, known := configurations()[name]
	if !known {
		return nil, fmt.Errorf("there is no server configuration %q", name)
	}
	dir := filepath.Join(s.Dir, "server-"+name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p, err := proxy.New(s.Authority, s.Contract)
	if err != nil {
		return nil, err
	}
	l := &liveServer{proxy: p}
	var database string // empty for SQLite
	env := map[string]string{"MARQUE_ISSUER": p.URL, "MARQUE_REVOCATIONS_HEARTBEAT": "1s"}
	for key, value := range settings {
		env[key] = value
	}
	if s.Database == "postgresql" {
		if l.gateway, err = newGateway(s.Cluster.Socket()); err != nil {
			return nil, err
		}
		if database, err = s.Cluster.Database(ctx); err != nil {
			return nil, err
		}
		if database, err = l.gateway.through(database); err != nil {
			return nil, err
		}
	}
	if l.Server, err = server.Start(ctx, server.Options{Binary: s.Binary, Dir: dir, Database: database, Env: env}); err != nil {
		p.Close()
		return nil, err
	}
	s.servers[name] = l
	return l, p.Forward(l.URL, l.TLS)
}

func (l *liveServer) stop() {
	if l.back != nil {
		_ = l.back()
	}
	l.proxy.Close()
	_ = l.Stop()
	if l.gateway != nil {
		l.gateway.remove()
	}
}

// away takes the database from the server until restore is called.
func (l *liveServer) away(ctx context.Context) (err error) {
	if l.gateway != nil {
		l.back = l.gateway.reopen
		return l.gateway.shut()
	}
	l.back, err = holdWrites(ctx, filepath.Join(l.Dir(), "marque.db"))
	return err
}

// restore gives the database back and waits until the server is ready again.
func (l *liveServer) restore(ctx context.Context) error {
	if l.back == nil {
		return nil
	}
	if err := l.back(); err != nil {
		return err
	}
	l.back = nil
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Operations+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := l.HTTP.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready again: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
