// Package judge runs cases with one driver and says whether the SDK did what
// they expect, in its answers and on the wire.
package judge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/runner/protocol"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// Options say what a session is to run with.
type Options struct {
	SDK       string   // for reports
	Command   []string // that starts the driver
	Root      string   // the repository
	Dir       string   // for files of this session
	Binary    string   // marque
	Database  string   // sqlite or postgresql
	Cluster   *postgres.Cluster
	Authority *wire.Authority
	Other     *wire.Authority // one that nobody should trust
	Contract  *wire.Contract
}

// Session is one SDK on one database: a driver and the servers that its live
// cases want, which are its own, so that sessions may run side by side.
type Session struct {
	Options

	operations map[string]operation
	driver     *protocol.Driver
	servers    map[string]*liveServer
	number     int
	lost       bool // the driver cannot be started
}

// Lost reports whether there is no point in running further cases: the driver
// cannot even be started.
func (s *Session) Lost() bool { return s.lost }

// NewSession prepares a session. The driver and the servers start when they are needed.
func NewSession(o Options) *Session {
	return &Session{Options: o, operations: operations(o.Contract.Document), servers: map[string]*liveServer{}}
}

// use gives the driver, a new one where the last is of no use any more.
func (s *Session) use(ctx context.Context) (*protocol.Driver, error) {
	if s.driver != nil {
		return s.driver, nil
	}
	d, err := protocol.Start(ctx, s.Root, s.Command...)
	if err != nil {
		s.lost = true
		return nil, err
	}
	s.driver = d
	return d, nil
}

// drop ends a driver that failed; the next case starts another.
func (s *Session) drop() {
	if s.driver != nil {
		s.driver.Kill()
		s.driver = nil
	}
}

// Close ends the driver and the servers. A driver that does not end by itself
// with its input is an error.
func (s *Session) Close() error {
	var err error
	if s.driver != nil {
		err = s.driver.Stop()
		s.driver = nil
	}
	for _, server := range s.servers {
		server.stop()
	}
	return err
}

// directory makes the directory of one case.
func (s *Session) directory() (string, error) {
	dir := filepath.Join(s.Dir, fmt.Sprintf("case-%d", s.number))
	return dir, os.MkdirAll(dir, 0o700)
}

// Greet starts the driver, for those who want to know that it can be started.
func (s *Session) Greet(ctx context.Context) error {
	_, err := s.use(ctx)
	return err
}
