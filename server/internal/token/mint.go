package token

import (
	"errors"
	"fmt"
	"strings"

	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
)

// Request is a token that the pipeline has decided to issue.
type Request struct {
	Account        *identity.ServiceAccount
	CredentialID   string
	ResourceServer *identity.ResourceServer
	Granted        []string  // all that the account holds there, sorted
	Scopes         []string  // what the token is to carry: sorted, some of Granted
	Roles          []string  // names of the roles that grant something there, sorted
	NotAfter       time.Time // the token must end by then; zero: no such bound
	Now            time.Time // when the decision was made
}

// Minted is a signed token and what the audit log and the answer say of it.
type Minted struct {
	Token     string
	ID        string // jti
	Scope     string
	ExpiresAt time.Time
	ExpiresIn time.Duration
}

// The private causes of an invalid_scope that only the whole token shows.
var (
	ErrTooManyScopes = errors.New("token: more scopes than a token carries")
	ErrTooLarge      = errors.New("token: larger than a token may be")
)

// Issuer mints tokens.
type Issuer struct {
	cfg Config
}

// NewIssuer makes an Issuer; it refuses a configuration that cannot work.
func NewIssuer(cfg Config) (*Issuer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Issuer{cfg: cfg}, nil
}

// Mint builds the claims, reads back what was built and compares it with the
// request and with policy, and only then signs. The token is nobody's until the
// caller has recorded it.
func (i *Issuer) Mint(r Request) (Minted, error) {
	if len(r.Scopes) > MaxScopes {
		return Minted{}, fault.New(fault.KindInvalid, fault.CodeInvalidScope,
			"the token would carry %d scopes and may carry %d: ask for less with the scope parameter", len(r.Scopes), MaxScopes).Because(ErrTooManyScopes)
	}
	claims := i.claims(&r)
	return i.sign(appendClaims(make([]byte, 0, 1024), &claims), &r)
}

// claims says what the token is to say.
func (i *Issuer) claims(r *Request) Claims {
	iat := r.Now.Unix()
	exp := iat + int64(i.cfg.lifetime(r.Account, r.ResourceServer)/time.Second)
	if end := Earliest(r.NotAfter, r.Account.ExpiresAt); !end.IsZero() {
		exp = min(exp, end.Unix())
	}
	return Claims{
		Issuer: i.cfg.Issuer, Subject: r.Account.ID, ClientID: r.Account.ID, Audience: r.ResourceServer.Identifier,
		IssuedAt: iat, NotBefore: iat, ExpiresAt: exp, TokenID: identity.NewID(identity.PrefixToken, r.Now),
		Scope: strings.Join(r.Scopes, " "), Roles: r.Roles, Gen: r.Account.Gen, CredentialID: r.CredentialID,
	}
}

// sign checks a payload and signs it. Nothing is signed in any other way.
func (i *Issuer) sign(payload []byte, r *Request) (Minted, error) {
	alg := i.cfg.Keys.Algorithm(r.ResourceServer.SigningAlg, r.ResourceServer.SigningAlgBefore)
	key, err := i.cfg.Keys.SignerAt(alg, r.Now)
	if err != nil {
		return Minted{}, err
	}
	c, err := decodeClaims(payload)
	if err == nil {
		err = i.checkBuilt(&c, r)
	}
	if err != nil {
		// A mistake of ours: nothing the caller can mend, and nothing may leave.
		return Minted{}, fault.Internal(fmt.Errorf("token: refusing to sign what was built: %w", err))
	}
	text, err := jose.Sign(key.PrivateKey, Type, payload)
	if err != nil {
		return Minted{}, fault.Internal(err)
	}
	if len(text) > MaxSize {
		return Minted{}, fault.New(fault.KindInvalid, fault.CodeInvalidScope,
			"the token would be larger than %d bytes: ask for less with the scope parameter", MaxSize).Because(ErrTooLarge)
	}
	return Minted{
		Token: text, ID: c.TokenID, Scope: c.Scope, ExpiresAt: c.Expires(),
		ExpiresIn: time.Duration(c.ExpiresAt-c.IssuedAt) * time.Second,
	}, nil
}

// checkBuilt compares the claims that are about to be signed with what was
// decided and with what is ever allowed. It shares no computation with claims:
// what that gets wrong, this must see.
func (i *Issuer) checkBuilt(c *Claims, r *Request) error {
	life := time.Duration(c.ExpiresAt-c.IssuedAt) * time.Second
	wanted := r.Account.TokenLifetime
	if wanted == 0 {
		wanted = i.cfg.DefaultLifetime
	}
	switch {
	case c.Issuer != i.cfg.Issuer:
		return errors.New("iss is not ours")
	case c.Subject != r.Account.ID, c.ClientID != c.Subject:
		return errors.New("sub or client_id is not the account")
	case c.Audience != r.ResourceServer.Identifier:
		return errors.New("aud is not the resource server")
	case c.IssuedAt != r.Now.Unix(), c.NotBefore != c.IssuedAt:
		return errors.New("iat or nbf is not the time of the decision")
	case c.ExpiresAt <= c.IssuedAt:
		return errors.New("exp is not after iat")
	case life > wanted, life > i.cfg.MaxLifetime, life > MaxLifetime:
		return errors.New("lives longer than account or server allow")
	case r.ResourceServer.TokenLifetimeMax != 0 && life > r.ResourceServer.TokenLifetimeMax:
		return errors.New("lives longer than the resource server allows")
	case !r.NotAfter.IsZero() && c.ExpiresAt > r.NotAfter.Unix(),
		!r.Account.ExpiresAt.IsZero() && c.ExpiresAt > r.Account.ExpiresAt.Unix():
		return errors.New("outlives what it rests on")
	case identity.ParseID(identity.PrefixToken, c.TokenID) != nil:
		return errors.New("jti is not an id")
	case c.Gen != r.Account.Gen:
		return errors.New("gen is not the account's")
	case c.CredentialID != r.CredentialID:
		return errors.New("cred is not the credential used")
	}
	if err := sameList(c.Roles, r.Roles); err != nil {
		return fmt.Errorf("roles: %w", err)
	}
	return checkScope(c.Scope, r)
}

// checkScope walks the scope claim beside the scopes that were decided and the
// permissions that are held; all three are sorted, so one walk is enough and
// also finds what is doubled or out of order.
func checkScope(scope string, r *Request) error {
	n, held := 0, 0
	for s := range strings.SplitSeq(scope, " ") {
		if n >= len(r.Scopes) || s != r.Scopes[n] {
			return errors.New("scope is not what was decided")
		}
		for held < len(r.Granted) && r.Granted[held] != s {
			held++
		}
		if held == len(r.Granted) {
			return errors.New("scope holds what is not granted")
		}
		held++
		n++
	}
	if n != len(r.Scopes) || n > MaxScopes {
		return errors.New("scope is not what was decided")
	}
	return nil
}

func sameList(got, want []string) error {
	if len(got) != len(want) {
		return errors.New("another number of entries")
	}
	for i := range got {
		if got[i] != want[i] {
			return errors.New("another entry")
		}
	}
	return nil
}
