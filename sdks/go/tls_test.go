package marque

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is the CA file of a test server.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return filepath.Join(files(t, map[string]string{"ca.pem": string(text)}), "ca.pem")
}

// tlsServer is a server that keeps failed handshakes to itself.
func tlsServer(handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

func TestRealConnections(t *testing.T) {
	t.Parallel()
	answering := tlsServer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/oauth2/token" {
			_, _ = w.Write([]byte(`{"access_token":"t","token_type":"Bearer","expires_in":900}`))
			return
		}
		_, _ = w.Write([]byte(`{"keys":[]}`))
	})
	t.Cleanup(answering.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	cut := tlsServer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"keys":[`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	t.Cleanup(cut.Close)
	hanging := tlsServer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	t.Cleanup(hanging.Close)
	elsewhere := func(url string) string {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
		return "https://localhost:" + port // the certificate is for example.com and 127.0.0.1
	}

	for name, test := range map[string]struct {
		issuer, ca string
		kind       Kind
		says       string
	}{
		"good":              {answering.URL, authority(t, answering), "", ""},
		"unknown authority": {answering.URL, "", KindTLS, "set CAFile or MARQUE_CA_FILE"},
		"another host":      {elsewhere(answering.URL), authority(t, answering), KindTLS, "not for the host"},
		"no TLS there":      {"https" + strings.TrimPrefix(plain.URL, "http"), "", KindTLS, "does not speak TLS"},
		"nobody there":      {"https://" + closed.Addr().String(), "", KindConnection, "cannot be reached"},
		"cut off":           {cut.URL, authority(t, cut), KindProtocol, "cut off"},
		"hanging":           {hanging.URL, authority(t, hanging), KindTimeout, "did not answer within 50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := Config{Issuer: test.issuer, CAFile: test.ca, Credential: SecretCredential("sa_1", "mqs_1"), Clock: newFakeClock()}
			if test.kind == KindTimeout {
				config.Timeout = 50 * time.Millisecond
			}
			client, err := newClient(config, none)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.JWKS.Get(t.Context())
			if test.kind == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e := failure(t, err, test.kind); !strings.Contains(e.Error(), test.says) || e.Retryable == (test.kind == KindTLS) {
				t.Errorf("error %v", e)
			}
		})
	}
}
