package marque

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAGoodTokenTellsWhoItIs(t *testing.T) {
	t.Parallel()
	for _, key := range []*signer{newES256(t, "a"), newEdDSA(t, "b"), newRS256(t, "c", 2048)} {
		i := newIssuer(key)
		v := i.verifier(t)
		for _, from := range []string{"the signature", "the cache"} {
			p, err := v.Verify(t.Context(), i.token(key, map[string]any{"custom": []int{1}}), testAudience, "invoices:read")
			if err != nil {
				t.Fatalf("%s from %s: %v", key.alg, from, err)
			}
			now := i.clock.Now()
			if p.Subject != testID || p.ClientID != testID || p.Issuer != testIssuer || p.Audience[0] != testAudience || p.Generation != 3 || p.Credential != "sec_1" ||
				!slices.Equal(p.Scopes, []string{"invoices:read", "invoices:write"}) || !p.HasRole("clerk") || p.HasRole("x") || p.Confirmation != nil ||
				!p.IssuedAt.Equal(now) || !p.Expires.Equal(now.Add(15*time.Minute)) || !strings.HasPrefix(p.TokenID, "tok_") {
				t.Errorf("principal %+v", p)
			}
			if !p.HasScopes("invoices:write", "invoices:read") || p.HasScopes("invoices:read", "invoices:delete") {
				t.Error("HasScopes is wrong")
			}
			var claims struct{ Custom []int }
			if err := p.Claims(&claims); err != nil || len(claims.Custom) != 1 {
				t.Errorf("claims %+v, %v", claims, err)
			}
		}
	}
}

func TestTokensAreHeldToTheirClaims(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	v, now := i.verifier(t), i.clock.Now().Unix()
	type claims = map[string]any
	for name, test := range map[string]struct {
		change claims
		reason Reason
	}{
		"as it should be":       {nil, ""},
		"a list of audiences":   {claims{"aud": []string{"x", testAudience}}, ""},
		"no scope, no roles":    {claims{"scope": nil, "roles": nil}, ""},
		"an unknown claim":      {claims{"act": claims{"sub": "sa_2"}}, ""},
		"10 s ahead":            {claims{"iat": now + 10, "nbf": now + 10}, ""},
		"11 s ahead":            {claims{"iat": now + 11, "nbf": now + 11}, ReasonNotYetValid},
		"nbf ahead":             {claims{"nbf": now + 11}, ReasonNotYetValid},
		"ends now":              {claims{"iat": now - 60, "exp": now}, ReasonExpired},
		"ends in a second":      {claims{"iat": now - 60, "exp": now + 1}, ""},
		"ends before it begins": {claims{"exp": now - 1}, ReasonMalformed},
		"another issuer":        {claims{"iss": testIssuer + "/"}, ReasonIssuer},
		"no issuer":             {claims{"iss": nil}, ReasonMalformed},
		"another audience":      {claims{"aud": "https://other.example.com"}, ReasonAudience},
		"a part of it":          {claims{"aud": testAudience[:10]}, ReasonAudience},
		"other audiences":       {claims{"aud": []string{"x", "y"}}, ReasonAudience},
		"no audience":           {claims{"aud": nil}, ReasonMalformed},
		"an empty audience":     {claims{"aud": ""}, ReasonMalformed},
		"an empty one among":    {claims{"aud": []string{testAudience, ""}}, ReasonMalformed},
		"no audiences":          {claims{"aud": []string{}}, ReasonMalformed},
		"audience a number":     {claims{"aud": 1}, ReasonMalformed},
		"exp as a string":       {claims{"exp": "1793613600"}, ReasonMalformed},
		"exp with a fraction":   {claims{"exp": 1793613600.5}, ReasonMalformed},
		"exp beyond 2^53":       {claims{"exp": int64(1) << 53}, ReasonMalformed},
		"exp negative":          {claims{"exp": -1}, ReasonMalformed},
		"no exp":                {claims{"exp": nil}, ReasonMalformed},
		"no iat":                {claims{"iat": nil}, ReasonMalformed},
		"no sub":                {claims{"sub": nil}, ReasonMalformed},
		"no client_id":          {claims{"client_id": nil}, ReasonMalformed},
		"no jti":                {claims{"jti": nil}, ReasonMalformed},
		"sub a number":          {claims{"sub": 1}, ReasonMalformed},
		"scope a list":          {claims{"scope": []string{"a"}}, ReasonMalformed},
		"65 scopes":             {claims{"scope": strings.Repeat("s ", 65)}, ReasonMalformed},
		"64 scopes":             {claims{"scope": "invoices:read" + strings.Repeat(" s", 63)}, ""},
		"roles a string":        {claims{"roles": "clerk"}, ReasonMalformed},
		"an empty role":         {claims{"roles": []string{""}}, ReasonMalformed},
		"gen a string":          {claims{"gen": "1"}, ReasonMalformed},
		"bound to a key":        {claims{"cnf": claims{"jkt": "x"}}, ReasonType},
		"cnf null":              {claims{"cnf": json.RawMessage("null")}, ReasonMalformed},
		"cnf a string":          {claims{"cnf": "x"}, ReasonMalformed},
	} {
		for _, from := range []string{"signature", "cache"} {
			_, err := v.Verify(t.Context(), i.token(key, test.change), testAudience)
			if test.reason != "" {
				refused(t, name+" from "+from, err, test.reason)
			} else if err != nil {
				t.Errorf("%s from %s: %v", name, from, err)
			}
		}
	}
}

func TestAnEmptyAudienceIsAMistakeOfTheCaller(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	_, err := i.verifier(t).Verify(t.Context(), i.token(key, nil), "")
	failure(t, err, KindConfiguration)
}

func TestAMissingPermissionNamesWhatIsNeeded(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	_, err := i.verifier(t).Verify(t.Context(), i.token(key, nil), testAudience, "invoices:read", "invoices:delete")
	refused(t, "scope", err, ReasonScope)
	e := err.(*TokenError)
	if e.Status() != 403 || e.Challenge() != `Bearer error="insufficient_scope", error_description="this call needs the permission invoices:read and invoices:delete", scope="invoices:read invoices:delete"` {
		t.Errorf("%d %s", e.Status(), e.Challenge())
	}
}

func TestABoundTokenIsAcceptedOnlyWhereTheCallerChecksIt(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	v := i.verifier(t, func(c *VerifierConfig) { c.AcceptBound = true })
	p, err := v.Verify(t.Context(), i.token(key, map[string]any{"cnf": map[string]any{"jkt": "x"}}), testAudience)
	if err != nil || string(p.Confirmation) != `{"jkt":"x"}` {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestACacheHitIsJudgedAnew(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	stopped := &revoked{}
	v := i.verifier(t, func(c *VerifierConfig) { c.Revocations = stopped })
	token := i.token(key, nil)
	verify := func(audience string, scopes ...string) error {
		_, err := v.Verify(t.Context(), token, audience, scopes...)
		return err
	}
	if err := verify(testAudience); err != nil {
		t.Fatal(err)
	}
	refused(t, "audience", verify("https://other"), ReasonAudience)
	refused(t, "scope", verify(testAudience, "x"), ReasonScope)
	stopped.id = "tok_01jzt3v0q8n4m6x2c9k7b5h1d0"
	refused(t, "revoked", verify(testAudience), ReasonRevoked)
	stopped.id = ""
	i.clock.advance(15 * time.Minute)
	refused(t, "expired", verify(testAudience), ReasonExpired)
}

type revoked struct{ id string }

func (r *revoked) Revoked(p *Principal) bool { return p.TokenID == r.id }

func TestAPrincipalIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	v, token := i.verifier(t), i.token(key, nil)
	for range 3 {
		p, err := v.Verify(t.Context(), token, testAudience)
		if err != nil || p.Subject != testID {
			t.Fatal(p, err)
		}
		p.Subject, p.Scopes = "sa_other", append(p.Scopes, "more")
	}
}

func TestRefusalsAreLoggedWithoutTheToken(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	var log bytes.Buffer
	v := i.verifier(t, func(c *VerifierConfig) { c.Logger = logger(&log) })
	token := i.token(key, map[string]any{"aud": "https://other"})
	_, err := v.Verify(t.Context(), token, testAudience)
	if !strings.Contains(log.String(), `"reason":"audience"`) || strings.Contains(log.String()+err.Error(), token[:40]) {
		t.Errorf("logged %s", &log)
	}
}

func TestTheCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newTokenCache(100)
	number := func(n int) *digest { d := digestOf(string(rune(n))); return &d }
	kept := &verifiedToken{}
	c.put(number(1), kept)
	for n := 2; n < 5000; n++ {
		c.put(number(n), &verifiedToken{})
		if c.get(number(1)) != kept {
			t.Fatalf("lost after %d others", n)
		}
		if held := len(c.young) + len(c.old); held > 100 {
			t.Fatalf("%d are held", held)
		}
	}
	if c.get(number(2)) != nil {
		t.Error("what nobody used since is still there")
	}
}
