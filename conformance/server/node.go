package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Beside installs another node of the same installation into a directory of its
// own, as an operator does: the same certificate, master key and issuer, other
// ports. The database must be one that several nodes can share.
func Beside(ctx context.Context, o Options, dir string) (Options, error) {
	if err := Install(ctx, o); err != nil {
		return o, err
	}
	for _, name := range []string{"cert.pem", "key.pem", "master.key", "admin"} {
		content, err := os.ReadFile(filepath.Join(o.Dir, name))
		if err != nil {
			return o, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return o, err
		}
	}
	port, err := freePort()
	if err != nil {
		return o, err
	}
	operations, err := freePort()
	if err != nil {
		return o, err
	}
	config, err := os.ReadFile(filepath.Join(o.Dir, "config.yaml"))
	if err != nil {
		return o, err
	}
	issuer, _, _ := strings.Cut(string(config), "\n")
	text := issuer + "\n" + settings(dir, port, operations)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		return o, err
	}
	o.Dir = dir
	return o, os.WriteFile(filepath.Join(dir, "installed"), fmt.Appendf(nil, "%d %d", port, operations), 0o600)
}

// settings are the lines of a configuration that each node has of its own.
func settings(dir string, port, operations int) string {
	return fmt.Sprintf("listen: 127.0.0.1:%d\noperations:\n  listen: 127.0.0.1:%d\ndata_dir: %s\ntls:\n  certificate_file: %s\n  key_file: %s\n",
		port, operations, dir, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
}

// Node starts another node of the same installation, with files of its own in
// dir. The database must be one that several nodes can share.
func (s *Server) Node(ctx context.Context, dir string) (*Server, error) {
	o, err := Beside(ctx, s.options, dir)
	if err != nil {
		return nil, err
	}
	return Start(ctx, o)
}
