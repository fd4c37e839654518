package grant

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/store"
)

func TestScopeNarrowsAndNeverWidens(t *testing.T) {
	t.Parallel()
	granted := []string{"a:read", "a:write", "b:read"}
	tests := map[string]struct {
		asked string
		want  []string // nil: refused
	}{
		"nothing asked":      {"", granted},
		"one":                {"a:write", []string{"a:write"}},
		"sorted":             {"b:read a:read", []string{"a:read", "b:read"}},
		"asked twice":        {"a:read a:read", []string{"a:read"}},
		"all":                {"a:read a:write b:read", granted},
		"one too many":       {"a:read c:read", nil},
		"another case":       {"A:READ", nil},
		"prefix":             {"a:", nil},
		"leading space":      {" a:read", nil},
		"trailing space":     {"a:read ", nil},
		"two spaces":         {"a:read  b:read", nil},
		"tab":                {"a:read\tb:read", nil},
		"quote":              {`a:read"`, nil},
		"backslash":          {`a:read\`, nil},
		"not ASCII":          {"a:réad", nil},
		"only a space":       {" ", nil},
		"more than 64 asked": {strings.TrimSpace(strings.Repeat("a:read ", 65)), nil},
		"64 asked":           {strings.TrimSpace(strings.Repeat("a:read ", 64)), []string{"a:read"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := narrow(tt.asked, granted)
			if tt.want == nil {
				if !fault.Is(err, fault.CodeInvalidScope) {
					t.Errorf("got %v and %v, want invalid_scope", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestResourceIsAnAbsoluteURIWithoutFragment(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"https://api.example":       true,
		"https://api.example/a?b=c": true,
		"urn:marque:management":     true,
		"api.example":               false,
		"/relative":                 false,
		"//host/path":               false,
		"https://api.example#":      false,
		"https://api.example#frag":  false,
		"https://api.example/%zz":   false,
		":":                         false,
		"https://[::1":              false,
	} {
		if got := absoluteURI(s); got != want {
			t.Errorf("%s: %t, want %t", s, got, want)
		}
	}
}

func TestTokenEndsWhenTheFirstOfItsScopesCeasesToBeGranted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	g := &store.Grant{Sources: []store.RoleGrant{
		{RoleName: "for-good", Permissions: []string{"read"}},
		{RoleName: "ten", Permissions: []string{"read", "write"}, ExpiresAt: in(10)},
		{RoleName: "over", Permissions: []string{"delete", "write"}, ExpiresAt: in(-1)},
		{RoleName: "twenty", Permissions: []string{"list", "write"}, ExpiresAt: in(20)},
		{RoleName: "five", Permissions: []string{"delete"}, ExpiresAt: in(5)},
	}}
	tests := map[string]struct {
		scopes []string
		want   time.Time
	}{
		"held for good":                 {[]string{"read"}, time.Time{}},
		"the longest of several counts": {[]string{"write"}, in(20)},
		"the shortest scope counts":     {[]string{"delete", "list", "write"}, in(5)},
		"mixed":                         {[]string{"list", "read"}, in(20)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := grantEnd(g, tt.scopes, now); !got.Equal(tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
