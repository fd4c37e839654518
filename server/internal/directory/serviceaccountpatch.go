package directory

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// ServiceAccountPatch is a merge patch. Null is refused for Name, Kind and
// Owner; elsewhere it clears. In Labels a nil value removes that one label, and
// labels that are not named stay.
type ServiceAccountPatch struct {
	Name                  Patch[string]
	DisplayName           Patch[string]
	Description           Patch[string]
	Kind                  Patch[identity.Kind]
	Owner                 Patch[string]
	Labels                Patch[map[string]*string]
	ExpiresAt             Patch[time.Time]
	TokenLifetime         Patch[time.Duration]
	TokenRateLimit        Patch[int]
	DefaultResourceServer Patch[string]
	AllowedNetworks       Patch[[]string]
	AllowedCredentials    Patch[[]identity.CredentialKind]
}

// apply changes the account and checks what came out.
func (in *ServiceAccountPatch) apply(a *identity.ServiceAccount, now time.Time) (*patching, error) {
	p := &patching{}
	patch(p, "name", &a.Name, in.Name, required)
	patch(p, "display_name", &a.DisplayName, in.DisplayName, optional)
	patch(p, "description", &a.Description, in.Description, optional)
	patch(p, "kind", &a.Kind, in.Kind, required)
	patch(p, "owner", &a.Owner, in.Owner, required)
	patchBy(p, "labels", &a.Labels, merged(a.Labels, in.Labels), optional, maps.Equal[map[string]string])
	patchTime(p, "expires_at", &a.ExpiresAt, in.ExpiresAt)
	patch(p, "token_lifetime", &a.TokenLifetime, in.TokenLifetime, optional)
	patch(p, "token_rate_limit", &a.TokenRateLimit, in.TokenRateLimit, optional)
	patch(p, "default_resource_server", &a.DefaultResourceServer, in.DefaultResourceServer, optional)
	patchList(p, "allowed_networks", &a.AllowedNetworks, in.networks(&p.findings))
	if in.AllowedCredentials.Set && !in.AllowedCredentials.Null && len(in.AllowedCredentials.Value) == 0 {
		// It would read as "by nothing" and mean "by anything".
		p.findings.Add("/allowed_credentials", "must not be empty: null allows any kind")
	}
	p.findings.CredentialKinds("/allowed_credentials", in.AllowedCredentials.Value)
	in.AllowedCredentials.Value = sortedKinds(in.AllowedCredentials.Value)
	patchList(p, "allowed_credentials", &a.AllowedCredentials, in.AllowedCredentials)

	checkAccount(&p.findings, a)
	if p.has("expires_at") {
		// Only then: an account that has expired can still be renamed.
		p.findings.Future("/expires_at", a.ExpiresAt, now)
	}
	slices.Sort(p.changed)
	return p, p.findings.Err()
}

// merged applies the one member that is an object itself (RFC 7396 section 2).
func merged(labels map[string]string, in Patch[map[string]*string]) Patch[map[string]string] {
	out := Patch[map[string]string]{Set: in.Set, Null: in.Null}
	if !in.Set || in.Null {
		return out
	}
	out.Value = maps.Clone(labels)
	if out.Value == nil {
		out.Value = make(map[string]string, len(in.Value))
	}
	for k, v := range in.Value {
		if v == nil {
			delete(out.Value, k)
		} else {
			out.Value[k] = *v
		}
	}
	return out
}

func (in *ServiceAccountPatch) networks(f *identity.Findings) Patch[[]netip.Prefix] {
	out := Patch[[]netip.Prefix]{Set: in.AllowedNetworks.Set, Null: in.AllowedNetworks.Null}
	out.Value = f.Networks("/allowed_networks", in.AllowedNetworks.Value)
	return out
}
