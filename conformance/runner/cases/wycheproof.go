package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/marque-id/marque/conformance/runner/mint"
	"github.com/marque-id/marque/conformance/runner/mock"
)

// wycheproof makes one case of each group of vectors: its key is what the issuer
// publishes, and none of its tokens may be accepted. The ones that Wycheproof
// calls valid have no claims, so that a verifier of access tokens refuses them
// too, for another reason; what matters is that a false signature is an error
// of verification and nothing else.
func wycheproof(suite, name string) ([]*Case, error) {
	text, err := findVectors(name)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return []*Case{{Suite: suite, Name: name, Skip: "the vectors are not here: MARQUE_WYCHEPROOF names the directory testvectors_v1 of C2SP/wycheproof"}}, nil
	}
	var file struct {
		TestGroups []struct {
			Public  json.RawMessage `json:"public"`
			Private json.RawMessage `json:"private"`
			Comment string          `json:"comment"`
			Tests   []struct {
				ID      int             `json:"tcId"`
				Comment string          `json:"comment"`
				JWS     json.RawMessage `json:"jws"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	var all []*Case
	for n, group := range file.TestGroups {
		keys, published := map[string]string{}, []string{}
		for i, key := range publicKeys(group.Public, group.Private) {
			id := fmt.Sprintf("w%d", i)
			keys[id], published = key, append(published, id)
		}
		c := &Case{
			Suite: suite, Name: fmt.Sprintf("%s, group %d: %s", name, n+1, group.Comment), Keys: keys, Mock: jwks(published),
			Tokens: map[string]mint.Token{}, Steps: []Step{{Verifier: "v", Audience: apiAudience}},
		}
		for _, test := range group.Tests {
			var token string
			if json.Unmarshal(test.JWS, &token) != nil {
				token = string(test.JWS) // the JSON serialization, which an access token never has
			}
			id := fmt.Sprintf("test %d", test.ID)
			if token == "" {
				continue
			}
			c.Tokens[id] = mint.Token{Raw: token}
			c.Steps = append(c.Steps, Step{Verify: "v", JWT: id, Error: map[string]any{"kind": "verification"}})
		}
		all = append(all, c)
	}
	return all, nil
}

// publicKeys are what may be published of a group: never a symmetric key.
func publicKeys(candidates ...json.RawMessage) []string {
	for _, raw := range candidates {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if json.Unmarshal(raw, &set) != nil || set.Keys == nil {
			var one map[string]any
			if json.Unmarshal(raw, &one) != nil || one == nil {
				continue
			}
			set.Keys = []map[string]any{one}
		}
		var texts []string
		for _, key := range set.Keys {
			if key["kty"] == "oct" {
				continue
			}
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
				delete(key, private)
			}
			text, _ := json.Marshal(key)
			texts = append(texts, string(text))
		}
		return texts
	}
	return nil
}

func findVectors(name string) ([]byte, error) {
	dir, given := os.LookupEnv("MARQUE_WYCHEPROOF")
	if !given {
		dir = filepath.Join("..", "shared", "vectors")
	}
	for _, file := range []string{"wycheproof_" + name, name} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	if given {
		return nil, fmt.Errorf("there is no %s in the directory that MARQUE_WYCHEPROOF names", name)
	}
	return nil, nil
}

// jwks is the script of an issuer that publishes keys.
func jwks(names []string) map[string]Replies {
	if names == nil {
		names = []string{}
	}
	return map[string]Replies{"GET /.well-known/jwks.json": {mock.Replies{
		Always: &mock.Reply{JWKS: names, Headers: map[string]string{"Cache-Control": "public, max-age=300"}},
	}}}
}
