package main

import (
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

// firstStart is what the first start of a development server may take: 2 s, and
// ten times that under the race detector beside other tests.
const firstStart = 20 * time.Second

func TestADevelopmentServerSetsItselfUpAndStartsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	system := clock.System()
	begin := system.Now()
	first := startDev(t, dir)
	if took := system.Since(begin); took > firstStart {
		t.Errorf("the first start took %s", took)
	}
	client := first.client(t)
	token := first.adminToken(t, client)
	if status := first.call(t, client, token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Fatalf("whoami: %d", status)
	}
	everythingIsPrivate(t, dir)
	if said := first.stdout.String() + first.stderr.String(); strings.Contains(said, first.adminSecret(t)) {
		t.Error("the administrator's secret was printed")
	}
	secret, authority := first.adminSecret(t), contentOf(t, filepath.Join(dir, "ca.pem"))
	first.stop(t)

	second := startDev(t, dir)
	client = second.client(t)
	second.adminToken(t, client)
	if second.profile.ClientID != first.profile.ClientID || second.adminSecret(t) != secret {
		t.Error("the second start made another administrator")
	}
	if contentOf(t, filepath.Join(dir, "ca.pem")) != authority {
		t.Error("the second start made another certificate authority")
	}
	everythingIsPrivate(t, dir)
}

func TestALostSecretOfADevelopmentServerIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startDev(t, dir)
	first.stop(t)
	if err := os.Remove(first.profile.ClientSecretFile); err != nil {
		t.Fatal(err)
	}
	second := startDev(t, dir)
	second.adminToken(t, second.client(t))
}

func TestTwoServersDoNotShareADataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startDev(t, dir)
	code, _, stderr := run(t, nil, "serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "another process uses") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}

func TestOnlyTLSIsSpoken(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())

	t.Run("a plaintext request gets no HTTP answer", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if strings.Contains(string(answer), "HTTP") {
			t.Errorf("the answer was %q", answer)
		}
	})
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		t.Parallel()
		settings := s.tls(t)
		settings.MinVersion, settings.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if conn, err := tls.Dial("tcp", s.address(), settings); err == nil {
			_ = conn.Close()
			t.Error("it was accepted")
		}
	})
	t.Run("ALPN settles on HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		settings := s.tls(t)
		settings.NextProtos = []string{"h2", "http/1.1"}
		conn, err := tls.Dial("tcp", s.address(), settings)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if state := conn.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
			t.Errorf("%q, %s", state.NegotiatedProtocol, tls.VersionName(state.Version))
		}
	})
}

func everythingIsPrivate(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
