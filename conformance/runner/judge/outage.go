package judge

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // to keep the server's database from it
)

// gateway is a socket between a server and its PostgreSQL that can be shut: new
// connections are refused then and the old ones cut, as when the database dies.
type gateway struct {
	dir, socket string // the directory that a database URL names; the socket behind

	mu       sync.Mutex
	listener net.Listener // nil while it is shut
	open     map[net.Conn]bool
}

func newGateway(socket string) (*gateway, error) {
	// The path of a socket may have 107 bytes, so it begins at the top.
	dir, err := os.MkdirTemp("/tmp", "marque-gw-")
	if err != nil {
		return nil, err
	}
	g := &gateway{dir: dir, socket: socket, open: map[net.Conn]bool{}}
	return g, g.reopen()
}

// through is a database URL that leads through the gateway.
func (g *gateway) through(database string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("host", g.dir)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (g *gateway) reopen() error {
	listener, err := net.Listen("unix", filepath.Join(g.dir, filepath.Base(g.socket)))
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.listener = listener
	g.mu.Unlock()
	go func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			go g.join(front)
		}
	}()
	return nil
}

func (g *gateway) join(front net.Conn) {
	back, err := net.Dial("unix", g.socket)
	if err != nil {
		_ = front.Close()
		return
	}
	g.mu.Lock()
	shut := g.listener == nil
	if !shut {
		g.open[front], g.open[back] = true, true
	}
	g.mu.Unlock()
	if !shut {
		go func() {
			_, _ = io.Copy(back, front)
			_ = back.Close()
		}()
		_, _ = io.Copy(front, back)
	}
	_, _ = front.Close(), back.Close()
	g.mu.Lock()
	delete(g.open, front)
	delete(g.open, back)
	g.mu.Unlock()
}

func (g *gateway) shut() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener == nil {
		return nil
	}
	err := g.listener.Close()
	g.listener = nil
	for connection := range g.open {
		_ = connection.Close()
	}
	return err
}

func (g *gateway) remove() {
	_ = g.shut()
	_ = os.RemoveAll(g.dir)
}

// holdWrites takes the one write lock that SQLite has until it is given back.
func holdWrites(ctx context.Context, file string) (release func() error, err error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	connection, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if _, err := connection.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, errors.Join(err, connection.Close(), db.Close())
	}
	return func() error {
		_, err := connection.ExecContext(context.Background(), "ROLLBACK")
		return errors.Join(err, connection.Close(), db.Close())
	}, nil
}
