package identity_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// check is one rule applied to one value: wrong says whether it must find something.
type check struct {
	value string
	wrong bool
}

func run(t *testing.T, rule func(f *identity.Findings, s string), checks []check) {
	t.Helper()
	for _, c := range checks {
		var f identity.Findings
		rule(&f, c.value)
		if (len(f) > 0) != c.wrong {
			t.Errorf("%.80q: findings %v, want some: %t", c.value, f, c.wrong)
		}
		for _, finding := range f {
			if finding.Pointer == "" || len(c.value) > 8 && strings.Contains(finding.Detail, c.value) {
				t.Errorf("%.80q: bad finding %+v", c.value, finding)
			}
		}
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	run(t, func(f *identity.Findings, s string) { f.Slug("/name", s) }, []check{
		{"a", false}, {"billing-agent", false}, {"a1", false}, {strings.Repeat("a", 63), false},
		{"", true}, {strings.Repeat("a", 64), true}, {"1a", true}, {"-a", true}, {"a-", true}, {"a--b", true},
		{"Billing", true}, {"a_b", true}, {"a.b", true}, {"a b", true}, {"a/b", true}, {"ä", true},
		{"a\x00", true}, {"a\n", true}, {"..", true}, {"а", true}, // the last one is Cyrillic
	})
}

func TestTextRefusesWhatCannotBeStoredOrShown(t *testing.T) {
	t.Parallel()
	always := []check{
		{"", false}, {"Billing – naïve ✓ 日本語 👩‍🚀", false}, {strings.Repeat("é", 50), false},
		{strings.Repeat("é", 51), true}, {"a\x00b", true}, {"a\x1bb", true}, {"a\x7fb", true}, {"a\u0085b", true},
		{"a\rb", true}, {"a\nb", true}, {"a\tb", true}, {"a\xffb", true}, {"a\xed\xa0\x80b", true}, {"a\u202eb", true}, {"a\u2066b", true}, {"a\u2028b", true},
	}
	run(t, func(f *identity.Findings, s string) { f.Text("/t", s, 100) }, always)
	run(t, func(f *identity.Findings, s string) { f.RequiredText("/t", s, 100) }, append(always[1:], check{"", true}, check{"  ", true}))
}

func TestPermissionNamesAreScopeTokens(t *testing.T) {
	t.Parallel()
	run(t, func(f *identity.Findings, s string) { f.Permission("/name", s) }, []check{
		{"invoices:read", false}, {"a", false}, {"https://example.org/x", false}, {"a.b_c-d/e:f*", false}, {"9", false},
		{strings.Repeat("a", 128), false},
		{strings.Repeat("a", 129), true}, {"", true}, {"a b", true}, {" a", true}, {":a", true}, {`a"b`, true}, {`a\b`, true},
		{"a\tb", true}, {"a\x00", true}, {"é", true}, {"a,b", true}, {"a+b", true},
	})
}

func TestIdentifierIsAnAbsoluteURIWithoutFragment(t *testing.T) {
	t.Parallel()
	run(t, func(f *identity.Findings, s string) { f.Identifier("/identifier", s) }, []check{
		{"https://api.example.org", false}, {"https://api.example.org:8443/v1?x=y", false}, {"urn:example:billing", false},
		{"api://billing", false}, {identity.ManagementIdentifier, false}, {"https://[2001:db8::1]/", false},
		{"", true}, {"billing", true}, {"/billing", true}, {"//api.example.org/x", true}, {"https://", true}, {"https:///x", true},
		{"https://:443/", true}, {"urn:", true}, {"https://a.example/#x", true}, {"https://a.example/#", true},
		{"https://u:p@a.example/", true}, {"https://a.example/ x", true}, {"https://a.example/\x00", true},
		{"https://a.example/é", true}, {"https://a.example/%zz", true}, {"https://a.example/<x>", true},
		{"1https://a.example", true}, {"https://a.example/" + strings.Repeat("a", 512), true},
	})
}

func TestLabels(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprintf("k%d", i)] = "v"
	}
	for name, c := range map[string]struct {
		labels map[string]string
		want   []string // pointers
	}{
		"none":            {nil, nil},
		"good":            {map[string]string{"team": "billing", "example.org/tier": "", "A_b-c.d": "x y"}, nil},
		"too many":        {many, []string{"/labels"}},
		"empty name":      {map[string]string{"": "x"}, []string{"/labels"}},
		"name with space": {map[string]string{"a b": "x"}, []string{"/labels"}},
		"name too long":   {map[string]string{strings.Repeat("a", 64): "x"}, []string{"/labels"}},
		"name with NUL":   {map[string]string{"a\x00": "x"}, []string{"/labels"}},
		"control value":   {map[string]string{"a/b": "x\x00", "c": "y\n"}, []string{"/labels/a~1b", "/labels/c"}},
		"value too long":  {map[string]string{"a": strings.Repeat("x", 256)}, []string{"/labels/a"}},
	} {
		var f identity.Findings
		f.Labels("/labels", c.labels)
		if diff := cmp.Diff(c.want, pointers(f)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func pointers(f identity.Findings) []string {
	var out []string
	for _, finding := range f {
		out = append(out, finding.Pointer)
	}
	return out
}

func TestDeclaredPermissionsNameEachFault(t *testing.T) {
	t.Parallel()
	var f identity.Findings
	f.DeclaredPermissions("/permissions", []identity.Permission{
		{Name: "a:read"}, {Name: "bad name"}, {Name: "a:read"}, {Name: "b", Description: "x\x00"},
	})
	want := []string{"/permissions/1/name", "/permissions/2/name", "/permissions/3/description"}
	if diff := cmp.Diff(want, pointers(f)); diff != "" {
		t.Error(diff)
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	var f identity.Findings
	got := f.Networks("/allowed_networks", []string{
		"192.0.2.0/24", "2001:db8::/32", "192.0.2.1/24", "192.0.2.0", "192.0.2.0/33", "::ffff:192.0.2.0/120",
		"010.0.0.0/8", "fe80::%eth0/64", "", "192.0.2.0/24", "0.0.0.0/0", "192.0.2.7/32",
	})
	want := []string{"192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "192.0.2.7/32"}
	var have []string
	for _, p := range got {
		have = append(have, p.String())
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	var wrong []string
	for _, i := range []int{2, 3, 4, 5, 6, 7, 8, 9} {
		wrong = append(wrong, fmt.Sprintf("/allowed_networks/%d", i))
	}
	if diff := cmp.Diff(wrong, pointers(f)); diff != "" {
		t.Error(diff)
	}

	var tooMany identity.Findings
	tooMany.Networks("/allowed_networks", make([]string, 33))
	if diff := cmp.Diff([]string{"/allowed_networks"}, pointers(tooMany)); diff != "" {
		t.Error(diff)
	}
}

func TestAllowsAddressComparesUnmapped(t *testing.T) {
	t.Parallel()
	a := identity.ServiceAccount{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for addr, want := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "192.0.3.9": false, "2001:db8::1": false} {
		if got := a.AllowsAddress(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if !(&identity.ServiceAccount{}).AllowsAddress(netip.Addr{}) {
		t.Error("an account without networks refuses an address")
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for d, wrong := range map[time.Duration]bool{
		0: false, 30 * time.Second: false, time.Hour: false, 24 * time.Hour: false,
		29 * time.Second: true, time.Second: true, -time.Minute: true, 24*time.Hour + time.Second: true, 1500 * time.Millisecond: true, 45*time.Second + time.Millisecond: true,
	} {
		var f identity.Findings
		if f.Lifetime("/token_lifetime", d); (len(f) > 0) != wrong {
			t.Errorf("%v: %v", d, f)
		}
	}
}

func TestFuture(t *testing.T) {
	t.Parallel()
	for at, wrong := range map[time.Time]bool{
		{}: false, noon.Add(time.Microsecond): false, noon: true, noon.Add(-time.Hour): true, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC): true,
	} {
		var f identity.Findings
		if f.Future("/expires_at", at, noon); (len(f) > 0) != wrong {
			t.Errorf("%v: %v", at, f)
		}
	}
}

func TestFindingsAreOneFault(t *testing.T) {
	t.Parallel()
	var f identity.Findings
	if f.Err() != nil {
		t.Error("an error without findings")
	}
	f.Slug("/name", "")
	f.RequiredText("/owner", "", 10)
	err := fault.From(f.Err())
	if err.Kind != fault.KindInvalid || len(err.Fields) != 2 || err.Fields[1].Pointer != "/owner" {
		t.Errorf("%+v", err)
	}
}

func TestParseScope(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil, "a": {"a"}, "b a": {"b", "a"}, "a b a": {"a", "b"},
	} {
		if got, err := identity.ParseScope(text, 64); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{" ", "a ", " a", "a  b", "a\tb", "a,b", "a\x00", "é", strings.Repeat("a ", 64) + "a"} {
		if _, err := identity.ParseScope(text, 64); !fault.Is(err, fault.CodeInvalidScope) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("invoices:read invoices:write")
	f.Add("a  b")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := identity.ParseScope(text, 64)
		if err != nil {
			return
		}
		again, err := identity.ParseScope(strings.Join(names, " "), 64)
		if err != nil || !slices.Equal(names, again) || len(names) > 64 {
			t.Errorf("%q: %q, then %q, %v", text, names, again, err)
		}
	})
}

func FuzzPermission(f *testing.F) {
	f.Add("invoices:read")
	f.Fuzz(func(t *testing.T, name string) {
		if !identity.ValidPermission(name) {
			return
		}
		for _, c := range []byte(name) { // RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E
			if c < 0x21 || c == '"' || c == '\\' || c > 0x7e {
				t.Errorf("%q holds %q, which is no scope-token character", name, c)
			}
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	for n, wrong := range map[int]bool{
		0: false, 1: false, identity.MaxTokenRateLimit: false, -1: true, identity.MaxTokenRateLimit + 1: true,
	} {
		var f identity.Findings
		if f.RateLimit("/token_rate_limit", n); (len(f) > 0) != wrong {
			t.Errorf("%d: %v", n, f)
		}
	}
}
