package proxy_test

import (
	"net/netip"
	"testing"

	"github.com/marque-id/marque/server/internal/proxy"
)

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	listed := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tc := range []struct {
		name    string
		rfc7239 bool
		peer    string
		values  []string
		want    string
	}{
		{"nothing from a listed proxy", false, "10.0.0.1", nil, "10.0.0.1"},
		{"the client", false, "10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"an unlisted peer is not believed", false, "192.0.2.1", []string{"203.0.113.7"}, "192.0.2.1"},
		{"what the client wrote itself stands further left", false, "10.0.0.1", []string{"127.0.0.1, 203.0.113.7"}, "203.0.113.7"},
		{"a listed address that the client wrote itself", false, "10.0.0.1", []string{"10.0.0.9, 203.0.113.7"}, "203.0.113.7"},
		{"through several listed proxies", false, "10.0.0.1", []string{"198.51.100.1, 203.0.113.7, 10.2.0.1, 10.3.0.1"}, "203.0.113.7"},
		{"in several fields", false, "10.0.0.1", []string{"198.51.100.1", "203.0.113.7", "10.2.0.1"}, "203.0.113.7"},
		{"only proxies", false, "10.0.0.1", []string{"10.3.0.1, 10.2.0.1"}, "10.3.0.1"},
		{"with a port", false, "10.0.0.1", []string{"203.0.113.7:4711"}, "203.0.113.7"},
		{"IPv6", false, "2001:db8:1::1", []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		{"IPv6 with brackets and port", false, "10.0.0.1", []string{"[2001:db8:2::7]:4711"}, "2001:db8:2::7"},
		{"IPv6 with brackets", false, "10.0.0.1", []string{"[2001:db8:2::7]"}, "2001:db8:2::7"},
		{"an IPv4 address as IPv6", false, "10.0.0.1", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a zone", false, "10.0.0.1", []string{"fe80::1%eth0"}, "10.0.0.1"},
		{"no address", false, "10.0.0.1", []string{"unknown"}, "10.0.0.1"},
		{"no address behind a proxy", false, "10.0.0.1", []string{"unknown, 10.2.0.1"}, "10.2.0.1"},
		{"an empty entry", false, "10.0.0.1", []string{"203.0.113.7,"}, "10.0.0.1"},
		{"an empty field", false, "10.0.0.1", []string{""}, "10.0.0.1"},

		{"RFC 7239", true, "10.0.0.1", []string{"for=203.0.113.7;proto=https;by=10.0.0.1"}, "203.0.113.7"},
		{"RFC 7239, quoted IPv6 with port", true, "10.0.0.1", []string{`For="[2001:db8:2::7]:4711"`}, "2001:db8:2::7"},
		{"RFC 7239, several", true, "10.0.0.1", []string{"for=198.51.100.1, for=203.0.113.7;proto=https, for=10.2.0.1"}, "203.0.113.7"},
		{"RFC 7239, hidden", true, "10.0.0.1", []string{"for=_secret"}, "10.0.0.1"},
		{"RFC 7239, without for", true, "10.0.0.1", []string{"proto=https"}, "10.0.0.1"},
		{"RFC 7239, for twice", true, "10.0.0.1", []string{"for=203.0.113.7;for=198.51.100.1"}, "10.0.0.1"},
		{"RFC 7239, a comma in quotes", true, "10.0.0.1", []string{`for="203.0.113.7, for=198.51.100.1"`}, "10.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := proxy.Forwarded{From: listed, RFC7239: tc.rfc7239}
			if got := f.Client(netip.MustParseAddr(tc.peer), tc.values); got.String() != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	var nobody proxy.Forwarded
	if nobody.Trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("the zero value trusts somebody")
	}
}
