package store

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/marque-id/marque/server/internal/identity"
)

// packedPrincipal is a Principal as the cache keeps it. The cache may hold
// hundreds of thousands, and what an account costs there is not only its bytes:
// the collector visits every object again and again. So all that is an account's
// own is one text of a few hundred bytes, on a [shelf], and what it shares with
// others is one pointer. Unpacking makes two objects, and its texts are parts of
// the packed one.
type packedPrincipal struct {
	own    string
	shared *sharedGrants
}

func packPrincipal(p *Principal, shared *sharedGrants) packedPrincipal {
	a := &p.Account
	w := packer{make([]byte, 0, 512)}
	w.text(a.ID)
	w.text(string(a.Kind))
	w.text(string(a.Status))
	w.text(a.DefaultResourceServer)
	w.networks(a.AllowedNetworks)
	w.number(int64(len(a.AllowedCredentials)))
	for _, k := range a.AllowedCredentials {
		w.text(string(k))
	}
	for _, n := range [...]int64{
		micros(a.ExpiresAt), a.TokenLifetime.Microseconds(), int64(a.TokenRateLimit), a.Gen, a.Version,
		micros(a.CreatedAt), micros(a.UpdatedAt),
	} {
		w.number(n)
	}
	w.number(int64(len(p.Secrets)))
	for i := range p.Secrets {
		s := &p.Secrets[i]
		w.text(s.ID)
		w.bytes(s.MAC[:])
		for _, n := range [...]int64{micros(s.ExpiresAt), micros(s.CreatedAt), micros(s.LastUsedAt)} {
			w.number(n)
		}
	}
	w.number(int64(len(p.APIKeys)))
	for i := range p.APIKeys {
		w.key(&p.APIKeys[i])
	}
	return packedPrincipal{string(w.b), shared}
}

// principal unpacks. The text is nobody's but ours, so a fault in it is a
// mistake in this file, and panics.
func (p packedPrincipal) principal() *Principal {
	r := unpacker{p.own}
	out := &Principal{Grants: p.shared.grants}
	a := &out.Account
	a.ID = r.text()
	a.Kind = identity.Kind(r.text())
	a.Status = identity.Status(r.text())
	a.DefaultResourceServer = r.text()
	a.AllowedNetworks = r.networks()
	if n := r.number(); n > 0 {
		a.AllowedCredentials = make([]identity.CredentialKind, n)
		for i := range a.AllowedCredentials {
			a.AllowedCredentials[i] = identity.CredentialKind(r.text())
		}
	}
	a.ExpiresAt, a.TokenLifetime, a.TokenRateLimit = fromMicros(r.number()), duration(r.number()), int(r.number())
	a.Gen, a.Version = r.number(), r.number()
	a.CreatedAt, a.UpdatedAt = fromMicros(r.number()), fromMicros(r.number())
	if n := r.number(); n > 0 {
		out.Secrets = make([]identity.ClientSecret, n)
		for i := range out.Secrets {
			s := &out.Secrets[i]
			s.ID, s.ServiceAccountID = r.text(), a.ID
			r.bytes(s.MAC[:])
			s.ExpiresAt, s.CreatedAt, s.LastUsedAt = fromMicros(r.number()), fromMicros(r.number()), fromMicros(r.number())
		}
	}
	if n := r.number(); n > 0 {
		out.APIKeys = make([]identity.APIKey, n)
		for i := range out.APIKeys {
			r.key(&out.APIKeys[i], a.ID)
		}
	}
	return out
}

// principal keeps an account.
func (s *shelf) principal(p packedPrincipal) packedPrincipal {
	return packedPrincipal{s.keep(p.own), p.shared}
}

// id is that of the account: it comes first.
func (p packedPrincipal) id() string {
	r := unpacker{p.own}
	return r.text()
}

// mentions reports whether the text has an id in it, such as that of a resource
// server whose permissions a key names.
func (p packedPrincipal) mentions(id string) bool { return strings.Contains(p.own, id) }

func (w *packer) key(k *identity.APIKey) {
	w.text(k.ID)
	w.bytes(k.MAC[:])
	restricted := int64(0)
	if k.Restricted {
		restricted = 1
	}
	w.number(restricted)
	w.number(int64(len(k.Permissions)))
	for _, p := range k.Permissions {
		w.text(p.ResourceServerID)
		w.text(p.Permission)
	}
	w.networks(k.AllowedNetworks)
	for _, n := range [...]int64{micros(k.ExpiresAt), micros(k.CreatedAt), micros(k.LastUsedAt)} {
		w.number(n)
	}
}

func (r *unpacker) key(k *identity.APIKey, accountID string) {
	k.ID, k.ServiceAccountID = r.text(), accountID
	r.bytes(k.MAC[:])
	k.Restricted = r.number() == 1
	if n := r.number(); n > 0 {
		k.Permissions = make([]identity.RolePermission, n)
		for i := range k.Permissions {
			k.Permissions[i] = identity.RolePermission{ResourceServerID: r.text(), Permission: r.text()}
		}
	}
	k.AllowedNetworks = r.networks()
	k.ExpiresAt, k.CreatedAt, k.LastUsedAt = fromMicros(r.number()), fromMicros(r.number()), fromMicros(r.number())
}

// packer writes numbers as varints, and texts behind their lengths.
type packer struct{ b []byte }

func (w *packer) number(n int64)               { w.b = binary.AppendVarint(w.b, n) }
func (w *packer) bytes(b []byte)               { w.b = append(w.b, b...) }
func (w *packer) text(s string)                { w.number(int64(len(s))); w.b = append(w.b, s...) }
func (w *packer) networks(list []netip.Prefix) { w.text(encodeNetworks(list)) }

// unpacker reads in the order in which packer wrote.
type unpacker struct{ s string }

func (r *unpacker) number() int64 {
	var u uint64
	for shift := 0; ; shift += 7 {
		b := r.s[shift/7]
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			r.s = r.s[shift/7+1:]
			return int64(u>>1) ^ -int64(u&1) // zigzag, as encoding/binary writes it
		}
	}
}

func (r *unpacker) bytes(b []byte) { r.s = r.s[copy(b, r.s):] }

func (r *unpacker) text() string {
	n := r.number()
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *unpacker) networks() []netip.Prefix {
	list, err := decodeNetworks(r.text())
	if err != nil {
		panic(err) // packer wrote them
	}
	return list
}
