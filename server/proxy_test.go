package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
)

// behind starts a server that was told of proxies.
func behind(t *testing.T, env ...string) *server {
	t.Helper()
	s := startDev(t, t.TempDir(), append(env, "MARQUE_LOG_FORMAT=json")...)
	return s
}

// exchange sends a prefix below TLS and then a request for a token with more
// headers, and returns the status, or the error that came instead.
func (s *server) exchange(t *testing.T, prefix string, headers ...string) (int, error) {
	t.Helper()
	tcp, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	if _, err := io.WriteString(tcp, prefix); err != nil {
		return 0, err
	}
	conn := tls.Client(tcp, s.tls(t))
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.profile.ClientID}, "client_secret": {s.adminSecret(t)}, "resource": {identity.ManagementIdentifier}}.Encode()
	request, err := http.NewRequest(http.MethodPost, s.profile.Issuer+"/oauth2/token", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for n := 0; n < len(headers); n += 2 {
		request.Header.Add(headers[n], headers[n+1])
	}
	if err := request.Write(conn); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return 0, err
	}
	read(t, response, nil)
	return response.StatusCode, nil
}

// addresses are those in the lines of the requests, once the server has ended.
func (s *server) addresses(t *testing.T) []string {
	t.Helper()
	s.stop(t)
	var all []string
	for _, found := range regexp.MustCompile(`"operation":"tokens.issue".*"address":"([^"]*)"`).FindAllStringSubmatch(s.stderr.String(), -1) {
		all = append(all, found[1])
	}
	return all
}

// proxyV2 is a PROXY header of version 2 for a TCP connection from client.
func proxyV2(client string) string {
	a := netip.MustParseAddr(client).As4()
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11"), 0, 12)
	b = append(append(b, a[:]...), 127, 0, 0, 1)
	b = binary.BigEndian.AppendUint16(b, 40000)
	return string(binary.BigEndian.AppendUint16(b, 8443))
}

const proxyV1 = "PROXY TCP4 203.0.113.7 127.0.0.1 40000 8443\r\n"

func TestTheClientsOfAListedBalancerKeepTheirAddresses(t *testing.T) {
	t.Parallel()
	s := behind(t, "MARQUE_PROXY_PROTOCOL_FROM=127.0.0.1")
	for _, client := range []string{"203.0.113.7", "198.51.100.9"} {
		if status, err := s.exchange(t, proxyV2(client)); status != http.StatusOK {
			t.Errorf("%s: %d %v", client, status, err)
		}
	}
	// Forwarded headers of such a client are its own invention.
	if status, err := s.exchange(t, proxyV2("203.0.113.8"), "X-Forwarded-For", "10.1.1.1"); status != http.StatusOK {
		t.Errorf("%d %v", status, err)
	}
	for name, prefix := range map[string]string{"no header": "", "version 1": proxyV1, "half a header": proxyV2("203.0.113.7")[:14] + "xx"} {
		if status, err := s.exchange(t, prefix); err == nil {
			t.Errorf("%s: %d", name, status)
		}
	}
	_, metrics := get(t, s.client(t), s.operations(t)+"/metrics")
	if !strings.Contains(metrics, "marque_proxy_headers_refused_total 3\n") {
		t.Errorf("three were refused: %s", regexp.MustCompile(`marque_proxy.* \d+`).FindString(metrics))
	}
	if got := strings.Join(s.addresses(t), " "); got != "203.0.113.7 198.51.100.9 203.0.113.8" {
		t.Errorf("addresses: %s", got)
	}
	if strings.Count(s.stderr.String(), "no acceptable PROXY header") != 1 {
		t.Errorf("it is logged once a minute:\n%s", s.stderr.String())
	}
}

func TestAHeaderOfAnUnlistedPeerIsBrokenTLS(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{nil, {"MARQUE_PROXY_PROTOCOL_FROM=10.0.0.0/8"}} {
		s := behind(t, env...)
		for _, prefix := range []string{proxyV2("203.0.113.7"), proxyV1} {
			if status, err := s.exchange(t, prefix); err == nil {
				t.Errorf("%v, %q: %d", env, prefix, status)
			}
		}
		if status, err := s.exchange(t, ""); status != http.StatusOK {
			t.Errorf("%v: %d %v", env, status, err)
		}
		if got := strings.Join(s.addresses(t), " "); got != "127.0.0.1" {
			t.Errorf("%v: addresses: %s", env, got)
		}
	}
}

func TestForwardedHeadersOfListedProxiesOnly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		env     []string
		prefix  string
		headers []string
		want    string
	}{
		{"nobody is listed", nil, "", []string{"X-Forwarded-For", "203.0.113.7", "Forwarded", "for=203.0.113.7", "X-Real-Ip", "203.0.113.7"}, "127.0.0.1"},
		{"another is listed", []string{"MARQUE_PROXY_FORWARDED_FROM=10.0.0.0/8"}, "", []string{"X-Forwarded-For", "203.0.113.7"}, "127.0.0.1"},
		{"the peer is listed", []string{"MARQUE_PROXY_FORWARDED_FROM=127.0.0.1,10.0.0.0/8"}, "", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.7, 10.0.0.3"}, "203.0.113.7"},
		{"it writes the other header", []string{"MARQUE_PROXY_FORWARDED_FROM=127.0.0.1"}, "", []string{"Forwarded", "for=203.0.113.7"}, "127.0.0.1"},
		{"RFC 7239", []string{"MARQUE_PROXY_FORWARDED_FROM=127.0.0.1", "MARQUE_PROXY_FORWARDED_HEADER=forwarded"}, "",
			[]string{"X-Forwarded-For", "1.1.1.1", "Forwarded", "for=1.1.1.1", "Forwarded", `for="203.0.113.7:99"`}, "203.0.113.7"},
		{"behind a balancer", []string{"MARQUE_PROXY_PROTOCOL_FROM=127.0.0.1", "MARQUE_PROXY_FORWARDED_FROM=10.0.0.0/8"}, proxyV2("10.0.0.3"), []string{"X-Forwarded-For", "203.0.113.7"}, "203.0.113.7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := behind(t, tc.env...)
			if status, err := s.exchange(t, tc.prefix, tc.headers...); status != http.StatusOK {
				t.Fatalf("%d %v", status, err)
			}
			if got := s.addresses(t); len(got) != 1 || got[0] != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

// TestTheTrueAddressCounts: allowed networks and the audit record go by it.
func TestTheTrueAddressCounts(t *testing.T) {
	t.Parallel()
	s := behind(t, "MARQUE_PROXY_FORWARDED_FROM=127.0.0.1")
	client := s.client(t)
	token := s.adminToken(t, client)
	var agent struct{ ID string }
	if status := s.call(t, client, token, http.MethodPost, "/v1/service-accounts", `{"name":"agent","owner":"alice","allowed_networks":["203.0.113.0/24"]}`, &agent); status != http.StatusCreated {
		t.Fatalf("create: %d", status)
	}
	var issued struct {
		ClientSecret string `json:"client_secret"`
	}
	s.call(t, client, token, http.MethodPost, "/v1/service-accounts/"+agent.ID+"/client-secrets", "", &issued)
	s.call(t, client, token, http.MethodPut, "/v1/service-accounts/"+agent.ID+"/roles/role_00000000000000000000000002", "", nil)
	s.profile.ClientID, s.profile.ClientSecretFile = agent.ID, filepath.Join(s.dir, "agent-secret")
	must(t, os.WriteFile(s.profile.ClientSecretFile, []byte(issued.ClientSecret), 0o600))
	for from, want := range map[string]int{"203.0.113.7": http.StatusOK, "198.51.100.7": http.StatusUnauthorized, "203.0.113.7, 198.51.100.8": http.StatusUnauthorized} {
		if status, err := s.exchange(t, "", "X-Forwarded-For", from); status != want {
			t.Errorf("%s: %d %v", from, status, err)
		}
	}
	var events struct {
		Items []struct{ Type, Address, Reason string }
	}
	s.call(t, client, token, http.MethodGet, "/v1/audit-events?service_account="+agent.ID, "", &events)
	got := map[string]string{}
	for _, e := range events.Items {
		if strings.HasPrefix(e.Type, "token.") {
			got[e.Address] = e.Reason
		}
	}
	if len(got) != 3 || got["203.0.113.7"] != "" || got["198.51.100.7"] != "address_not_allowed" || got["198.51.100.8"] != "address_not_allowed" {
		t.Errorf("the audit record has %v", got)
	}
}
