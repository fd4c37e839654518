package identity_test

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestOneKindOfSecretIsNeverTakenForTheOther(t *testing.T) {
	t.Parallel()
	secret, key := identity.GenerateClientSecret().Reveal(), identity.GenerateAPIKey().Reveal()
	if identity.CheckAPIKey(key) != nil || !regexp.MustCompile("^"+identity.APIKeyPattern+"$").MatchString(key) {
		t.Errorf("%d characters are no API key", len(key))
	}
	// Not by the prefix alone: the checksum is over it.
	for _, text := range []string{secret, identity.APIKeyPrefix + secret[4:], key[:len(key)-1], "x" + key, key + "\n"} {
		if err := identity.CheckAPIKey(text); !errors.Is(err, identity.ErrMalformedSecret) {
			t.Errorf("%q is taken for an API key: %v", text, err)
		}
	}
	if identity.CheckClientSecret(key) == nil || identity.CheckClientSecret(identity.ClientSecretPrefix+key[4:]) == nil {
		t.Error("an API key is taken for a client secret")
	}
	for i := 4; i < len(key); i++ {
		typo := []byte(key)
		if typo[i] = 'a'; key[i] == 'a' {
			typo[i] = 'b'
		}
		if identity.CheckAPIKey(string(typo)) == nil {
			t.Errorf("a typo at %d is not told", i)
		}
	}
}

func TestACredentialGivesNoMoreThanItsList(t *testing.T) {
	t.Parallel()
	list := []identity.RolePermission{{ResourceServerID: "rs_1", Permission: "a"}, {ResourceServerID: "rs_1", Permission: "c"}, {ResourceServerID: "rs_2", Permission: "b"}}
	for name, c := range map[string]struct {
		credential identity.Credential
		server     string
		want       []string
	}{
		"all":                    {identity.Credential{}, "rs_1", []string{"a", "b"}},
		"some":                   {identity.Credential{Restricted: true, Permissions: list}, "rs_1", []string{"a"}},
		"some elsewhere":         {identity.Credential{Restricted: true, Permissions: list}, "rs_2", []string{"b"}},
		"none there":             {identity.Credential{Restricted: true, Permissions: list}, "rs_3", []string{}},
		"none at all":            {identity.Credential{Restricted: true}, "rs_1", []string{}},
		"a list that is ignored": {identity.Credential{Permissions: list}, "rs_1", []string{"a", "b"}},
	} {
		if got := c.credential.Narrow(c.server, []string{"a", "b"}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestACredentialEndsAndHasItsPlace(t *testing.T) {
	t.Parallel()
	k := identity.APIKey{ExpiresAt: noon, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	c := k.Credential()
	for _, at := range []time.Time{noon.Add(-1), noon, noon.Add(1)} {
		if live := at.Before(noon); c.Live(at) != live || k.Live(at) != live {
			t.Errorf("at %s: live %t", at, c.Live(at))
		}
	}
	if !c.AllowsAddress(netip.MustParseAddr("::ffff:192.0.2.1")) || c.AllowsAddress(netip.MustParseAddr("192.0.3.1")) || c.AllowsAddress(netip.Addr{}) {
		t.Error("its networks are not kept to")
	}
	a := identity.ServiceAccount{AllowedCredentials: []identity.CredentialKind{identity.KindAPIKey}}
	if !a.AllowsCredential(c.Kind) || a.AllowsCredential(identity.KindClientSecret) || !(&identity.ServiceAccount{}).AllowsCredential("later") {
		t.Error("kinds are not kept to")
	}
}
