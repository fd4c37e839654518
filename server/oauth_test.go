package main

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/marque-id/marque/server/internal/identity"
)

// TestClientsOfOthers gets a token with software that knows nothing of us, and
// verifies it with software that knows nothing but the published metadata.
func TestClientsOfOthers(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())

	for _, tc := range []struct {
		name  string
		token func(t *testing.T) string
	}{
		{"curl", s.tokenByCurl},
		{"x/oauth2 with Basic", func(t *testing.T) string { return s.tokenByLibrary(t, oauth2.AuthStyleInHeader) }},
		{"x/oauth2 with the form", func(t *testing.T) string { return s.tokenByLibrary(t, oauth2.AuthStyleInParams) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			raw := tc.token(t)
			ctx := oidc.ClientContext(context.Background(), s.client(t))
			provider, err := oidc.NewProvider(ctx, s.profile.Issuer)
			if err != nil {
				t.Fatal(err)
			}
			verified, err := provider.Verifier(&oidc.Config{ClientID: identity.ManagementIdentifier}).Verify(ctx, raw)
			if err != nil {
				t.Fatal(err)
			}
			if verified.Subject != s.profile.ClientID || verified.Issuer != s.profile.Issuer {
				t.Errorf("subject %q, issuer %q", verified.Subject, verified.Issuer)
			}
			if _, err := provider.Verifier(&oidc.Config{ClientID: "https://other.example.com"}).Verify(ctx, raw); err == nil {
				t.Error("it was accepted for another audience")
			}
		})
	}
}

func (s *server) tokenByCurl(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("curl", "-sS", "--fail-with-body", "--cacert", s.profile.CAFile,
		"-d", "grant_type=client_credentials", "-d", "client_id="+s.profile.ClientID,
		"--data-urlencode", "client_secret@"+s.profile.ClientSecretFile,
		s.profile.Issuer+"/oauth2/token").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return answer.AccessToken
}

func (s *server) tokenByLibrary(t *testing.T, style oauth2.AuthStyle) string {
	t.Helper()
	source := clientcredentials.Config{
		ClientID: s.profile.ClientID, ClientSecret: s.adminSecret(t),
		TokenURL: s.profile.Issuer + "/oauth2/token", AuthStyle: style,
	}
	token, err := source.Token(context.WithValue(context.Background(), oauth2.HTTPClient, s.client(t)))
	if err != nil {
		t.Fatal(err)
	}
	if token.TokenType != "Bearer" || token.Expiry.IsZero() {
		t.Errorf("type %q, expiry %s", token.TokenType, token.Expiry)
	}
	return token.AccessToken
}
