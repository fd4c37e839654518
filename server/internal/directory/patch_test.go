package directory

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func to(s string) *string { return &s }

func sample() identity.ServiceAccount {
	return identity.ServiceAccount{
		Name: "billing", DisplayName: "Billing", Description: "d", Kind: identity.KindJob, Owner: "ops",
		Labels: map[string]string{"a": "1", "b": "2"}, Status: identity.StatusActive, ExpiresAt: noon.Add(time.Hour),
		TokenLifetime: time.Minute, TokenRateLimit: 60, DefaultResourceServer: identity.ManagementResourceServerID,
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
}

func TestServiceAccountPatchTellsAbsentNullAndValueApart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		patch   ServiceAccountPatch
		want    func(a *identity.ServiceAccount)
		changed []string
	}{
		"nothing":           {ServiceAccountPatch{}, func(*identity.ServiceAccount) {}, nil},
		"the same value":    {ServiceAccountPatch{Name: PatchTo("billing")}, func(*identity.ServiceAccount) {}, nil},
		"a value":           {ServiceAccountPatch{Name: PatchTo("other")}, func(a *identity.ServiceAccount) { a.Name = "other" }, []string{"name"}},
		"text cleared":      {ServiceAccountPatch{DisplayName: PatchNull[string]()}, func(a *identity.ServiceAccount) { a.DisplayName = "" }, []string{"display_name"}},
		"end cleared":       {ServiceAccountPatch{ExpiresAt: PatchNull[time.Time]()}, func(a *identity.ServiceAccount) { a.ExpiresAt = time.Time{} }, []string{"expires_at"}},
		"lifetime cleared":  {ServiceAccountPatch{TokenLifetime: PatchNull[time.Duration]()}, func(a *identity.ServiceAccount) { a.TokenLifetime = 0 }, []string{"token_lifetime"}},
		"rate limit":        {ServiceAccountPatch{TokenRateLimit: PatchTo(90)}, func(a *identity.ServiceAccount) { a.TokenRateLimit = 90 }, []string{"token_rate_limit"}},
		"the same limit":    {ServiceAccountPatch{TokenRateLimit: PatchTo(60)}, func(*identity.ServiceAccount) {}, nil},
		"limit cleared":     {ServiceAccountPatch{TokenRateLimit: PatchNull[int]()}, func(a *identity.ServiceAccount) { a.TokenRateLimit = 0 }, []string{"token_rate_limit"}},
		"default cleared":   {ServiceAccountPatch{DefaultResourceServer: PatchNull[string]()}, func(a *identity.ServiceAccount) { a.DefaultResourceServer = "" }, []string{"default_resource_server"}},
		"networks cleared":  {ServiceAccountPatch{AllowedNetworks: PatchNull[[]string]()}, func(a *identity.ServiceAccount) { a.AllowedNetworks = nil }, []string{"allowed_networks"}},
		"the same networks": {ServiceAccountPatch{AllowedNetworks: PatchTo([]string{"192.0.2.0/24"})}, func(*identity.ServiceAccount) {}, nil},
		"the same end in another zone": {
			ServiceAccountPatch{ExpiresAt: PatchTo(noon.Add(time.Hour).In(time.FixedZone("x", 3600)))}, func(*identity.ServiceAccount) {}, nil,
		},
		"label added":    {ServiceAccountPatch{Labels: PatchTo(map[string]*string{"c": to("3")})}, func(a *identity.ServiceAccount) { a.Labels["c"] = "3" }, []string{"labels"}},
		"label removed":  {ServiceAccountPatch{Labels: PatchTo(map[string]*string{"a": nil})}, func(a *identity.ServiceAccount) { delete(a.Labels, "a") }, []string{"labels"}},
		"label changed":  {ServiceAccountPatch{Labels: PatchTo(map[string]*string{"a": to("")})}, func(a *identity.ServiceAccount) { a.Labels["a"] = "" }, []string{"labels"}},
		"no such label":  {ServiceAccountPatch{Labels: PatchTo(map[string]*string{"z": nil})}, func(*identity.ServiceAccount) {}, nil},
		"empty object":   {ServiceAccountPatch{Labels: PatchTo(map[string]*string{})}, func(*identity.ServiceAccount) {}, nil},
		"labels cleared": {ServiceAccountPatch{Labels: PatchNull[map[string]*string]()}, func(a *identity.ServiceAccount) { a.Labels = nil }, []string{"labels"}},
		"two at once": {
			ServiceAccountPatch{Owner: PatchTo("dev"), Kind: PatchTo(identity.KindAgent)},
			func(a *identity.ServiceAccount) { a.Owner, a.Kind = "dev", identity.KindAgent }, []string{"kind", "owner"},
		},
	} {
		got, want := sample(), sample()
		labels := got.Labels
		c.want(&want)
		p, err := c.patch.apply(&got, noon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(c.changed, p.changed, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: changed: %s", name, diff)
		}
		if !maps.Equal(labels, sample().Labels) {
			t.Errorf("%s: the patch wrote into the map that it was given", name)
		}
	}
}

func TestServiceAccountPatchRefusesWithTheMemberNamed(t *testing.T) {
	t.Parallel()
	for pointer, patch := range map[string]ServiceAccountPatch{
		"/name":                    {Name: PatchNull[string]()},
		"/kind":                    {Kind: PatchNull[identity.Kind]()},
		"/owner":                   {Owner: PatchNull[string]()},
		"/display_name":            {DisplayName: PatchTo("a\x00b")},
		"/description":             {Description: PatchTo("a\x07b")},
		"/labels/a":                {Labels: PatchTo(map[string]*string{"a": to("\x00")})},
		"/expires_at":              {ExpiresAt: PatchTo(noon)},
		"/token_lifetime":          {TokenLifetime: PatchTo(time.Second)},
		"/token_rate_limit":        {TokenRateLimit: PatchTo(-1)},
		"/default_resource_server": {DefaultResourceServer: PatchTo("billing")},
		"/allowed_networks/1":      {AllowedNetworks: PatchTo([]string{"192.0.2.0/24", "nonsense"})},
	} {
		a := sample()
		_, err := patch.apply(&a, noon)
		f := fault.From(err)
		if err == nil || f.Kind != fault.KindInvalid || len(f.Fields) != 1 || f.Fields[0].Pointer != pointer {
			t.Errorf("%s: %+v", pointer, f)
		}
	}
}

func TestAnExpiredAccountCanStillBeRenamed(t *testing.T) {
	t.Parallel()
	a := sample()
	patch := ServiceAccountPatch{Name: PatchTo("other")}
	if _, err := patch.apply(&a, noon.Add(24*time.Hour)); err != nil {
		t.Error(err)
	}
}
