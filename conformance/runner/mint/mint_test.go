package mint_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/conformance/runner/mint"
)

// TestGoodTokensAreGood has another library verify what is minted: vectors that
// are refused because they are broken in ways that nobody meant show nothing.
func TestGoodTokensAreGood(t *testing.T) {
	t.Parallel()
	keys, err := mint.NewKeys(map[string]string{"k1": "ES256", "k2": "ES384", "r1": "RS256", "e1": "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	for name, algorithm := range map[string]string{"k1": "ES256", "k2": "ES384", "r1": "RS256", "e1": "EdDSA"} {
		good, err := keys.Make(mint.Token{Key: name}, "https://issuer.example.com")
		if err != nil {
			t.Fatal(err)
		}
		public, err := keys.Public(name)
		if err != nil {
			t.Fatal(err)
		}
		verify := func(token string) error {
			_, err := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithoutClaimsValidation()).
				Parse(token, func(*jwt.Token) (any, error) { return public, nil })
			return err
		}
		if err := verify(good); err != nil {
			t.Errorf("%s: a good token is refused: %v", algorithm, err)
		}
		for _, how := range []string{"flipped", "zero", "none"} {
			bad, err := keys.Make(mint.Token{Key: name, Sign: how}, "https://issuer.example.com")
			if err != nil {
				t.Fatal(err)
			}
			if verify(bad) == nil {
				t.Errorf("%s: a token with the signature %s is good", algorithm, how)
			}
		}
	}
}

func TestClaimsAreMerged(t *testing.T) {
	t.Parallel()
	keys, err := mint.NewKeys(map[string]string{"k1": "ES256"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := keys.Make(mint.Token{Claims: map[string]any{"sub": nil, "exp": "now-5", "aud": "${issuer}/x"}}, "https://i")
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	claims := parsed.Claims.(jwt.MapClaims)
	if _, there := claims["sub"]; there || claims["exp"] != float64(mint.Now-5) || claims["aud"] != "https://i/x" || claims["iss"] != "https://i" {
		t.Errorf("claims: %v", claims)
	}
}

func TestAKeySetHasNoPrivateMember(t *testing.T) {
	t.Parallel()
	keys, err := mint.NewKeys(map[string]string{"k1": "ES256", "r1": "RS256", "e1": "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.JWKS([]string{"k1", "r1", "e1"})
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 3 {
		t.Fatalf("%s: %v", text, err)
	}
	if strings.Contains(string(text), `"d":`) {
		t.Errorf("a private member: %s", text)
	}
}
