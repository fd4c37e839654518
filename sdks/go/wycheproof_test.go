package marque

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// vectorFile is the part of Wycheproof's format that is read here.
type vectorFile struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		Tests   []struct {
			ID      int             `json:"tcId"`
			Comment string          `json:"comment"`
			JWS     json.RawMessage `json:"jws"`
			Result  string          `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

// readVectors finds the vectors in $MARQUE_WYCHEPROOF or beside the repository,
// where the server's own tests look for them too. They are not part of it.
func readVectors(t *testing.T, name string) *vectorFile {
	t.Helper()
	given := os.Getenv("MARQUE_WYCHEPROOF")
	dir := given
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	for _, file := range []string{"wycheproof_" + name, name} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		var v vectorFile
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return &v
	}
	if given != "" {
		t.Fatalf("there is no %s in the directory that MARQUE_WYCHEPROOF names", name)
	}
	t.Skipf("Wycheproof vectors %s are not here; to run them set MARQUE_WYCHEPROOF to the directory testvectors_v1 of C2SP/wycheproof", name)
	return nil
}

// refusedThough lists why vectors that Wycheproof calls valid are refused: by
// name, or by the algorithm in the header where that alone is the reason.
var refusedThough = map[string]string{
	"InvalidCharacterInsertedInHeader":  "a character outside base64url, which lenient readers skip: a second spelling",
	"InvalidCharacterInsertedInPayload": "the same",
	"Figure13":                          "its kid has a dot and an at sign, which no kid of Marque has",

	"RS384": "not offered by Marque", "RS512": "not offered by Marque",
	"PS256": "not offered by Marque", "PS384": "not offered by Marque", "PS512": "not offered by Marque",
	"ES384": "not offered by Marque", "ES512": "not offered by Marque",
	"HS256": "symmetric: whoever verifies could sign", "HS384": "symmetric", "HS512": "symmetric",
}

func TestWycheproofVectorsGiveNoFalseAccept(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := readVectors(t, name)
			ran, accepted, explained := 0, 0, map[string]int{}
			for _, group := range file.TestGroups {
				key := group.Public
				if key == nil {
					key = group.Private // symmetric groups have no other
				}
				for _, v := range group.Tests {
					ran++
					ok, alg := tryVector(v.JWS, vectorKeys(key))
					_, byName := refusedThough[v.Comment]
					_, byAlgorithm := refusedThough[alg]
					switch {
					case ok && v.Result != "valid":
						t.Errorf("%d %s: accepted, must be refused", v.ID, v.Comment)
					case ok:
						accepted++
					case v.Result == "valid" && byName:
						explained[v.Comment]++
					case v.Result == "valid" && byAlgorithm:
						explained[alg]++
					case v.Result == "valid":
						t.Errorf("%d %s (%s): refused, called valid, and no reason is listed", v.ID, v.Comment, alg)
					}
				}
			}
			if ran != file.NumberOfTests || accepted == 0 {
				t.Errorf("ran %d of %d vectors, %d accepted", ran, file.NumberOfTests, accepted)
			}
			t.Logf("%d vectors, %d accepted, valid ones refused: %v", ran, accepted, explained)
		})
	}
}

// vectorKeys reads a key or a key set.
func vectorKeys(raw json.RawMessage) map[string]*publicKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil || set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	return readKeys(set.Keys)
}

// tryVector verifies one vector, and tells what algorithm it claims. The vectors
// are about text, so that typ and claims are not looked at.
func tryVector(raw json.RawMessage, keys map[string]*publicKey) (ok bool, alg string) {
	var token string
	if json.Unmarshal(raw, &token) != nil {
		token = string(raw) // the JSON serialization, which is never accepted
	}
	parts, reason := splitToken(token)
	if reason != "" && reason != ReasonType {
		return false, parts.alg
	}
	key := keys[parts.kid]
	return key != nil && key.alg == parts.alg && key.verify(parts.signing, parts.signature), parts.alg
}
