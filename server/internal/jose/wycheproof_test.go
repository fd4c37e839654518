package jose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorFile is the part of Wycheproof's format that is read here.
type vectorFile struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		Tests   []vector        `json:"tests"`
	} `json:"testGroups"`
}

type vector struct {
	ID      int             `json:"tcId"`
	Comment string          `json:"comment"`
	JWS     json.RawMessage `json:"jws"`
	Result  string          `json:"result"`
}

// readVectors finds the vectors in $MARQUE_WYCHEPROOF or beside the repository.
// They are not part of the repository: where they are missing, the test is
// skipped, and is not among those that passed.
func readVectors(t *testing.T, name string) *vectorFile {
	t.Helper()
	dirs := []string{filepath.Join("..", "..", "..", "..", "shared", "vectors")}
	if dir := os.Getenv("MARQUE_WYCHEPROOF"); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
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
	}
	if os.Getenv("MARQUE_WYCHEPROOF") != "" {
		t.Fatalf("there is no %s in the directory that MARQUE_WYCHEPROOF names", name)
	}
	t.Skipf("Wycheproof vectors %s are not here; to run them set MARQUE_WYCHEPROOF to the directory testvectors_v1 of C2SP/wycheproof", name)
	return nil
}

// refusedThough lists why vectors that Wycheproof calls valid are refused: by
// name, and by the algorithm in the header where that alone is the reason. What
// is refused for its kid is told apart by the kid.
func refusedThough() (byName, byAlgorithm map[string]string) {
	const (
		notOffered = "only ES256, RS256 and EdDSA are offered: nothing else has a suite"
		symmetric  = "symmetric: whoever verifies could sign"
		alphabet   = "a character outside base64url, which lenient decoders skip: a second spelling"
	)
	return map[string]string{
			"InvalidCharacterInsertedInHeader":  alphabet,
			"InvalidCharacterInsertedInPayload": alphabet,
		}, map[string]string{
			"RS384": notOffered, "RS512": notOffered,
			"PS256": notOffered, "PS384": notOffered, "PS512": notOffered,
			"ES512": notOffered,
			"HS256": symmetric, "HS384": symmetric, "HS512": symmetric,
		}
}

// keysOf parses a key or a key set the way a registration would: key by key,
// unusable ones left out, nothing from a set that names a kid twice.
func keysOf(raw json.RawMessage) func(string) *PublicKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil || set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	found := map[string]*PublicKey{}
	for _, one := range set.Keys {
		key, err := ParseJWK(one)
		if err != nil {
			continue
		}
		if found[key.KeyID()] != nil {
			return func(string) *PublicKey { return nil }
		}
		found[key.KeyID()] = key
	}
	return func(kid string) *PublicKey { return found[kid] }
}

func TestWycheproofVectorsGiveNoFalseAccept(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := readVectors(t, name)
			ran, accepted, falseAccepts := 0, 0, 0
			byName, byAlgorithm := refusedThough()
			explained := map[string]int{}
			for _, group := range file.TestGroups {
				key := group.Public
				if key == nil {
					key = group.Private // symmetric groups have no other
				}
				for _, v := range group.Tests {
					ran++
					ok, head := tryVector(v, keysOf(key))
					switch {
					case ok && v.Result != "valid":
						falseAccepts++
						t.Errorf("%d %s: accepted, must be refused", v.ID, v.Comment)
					case ok:
						accepted++
					case v.Result == "valid":
						reason := head.Alg + ": " + byAlgorithm[head.Alg]
						if why, listed := byName[v.Comment]; listed {
							reason = v.Comment + ": " + why
						} else if byAlgorithm[head.Alg] == "" && head.Kid != "" && !validKid(head.Kid) {
							reason = head.Kid + ": a kid that is no key of a map: 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
						} else if byAlgorithm[head.Alg] == "" {
							t.Errorf("%d %s (%s): refused, called valid, and no reason is listed", v.ID, v.Comment, head.Alg)
						}
						explained[reason]++
					}
				}
			}
			if ran != file.NumberOfTests {
				t.Errorf("ran %d of %d vectors", ran, file.NumberOfTests)
			}
			t.Logf("%d vectors, %d accepted, %d false accepts", ran, accepted, falseAccepts)
			for why, n := range explained {
				t.Logf("%3d valid ones refused: %s", n, why)
			}
		})
	}
}

// claimed is what the header of a vector says of itself, for the table.
type claimed struct{ Alg, Kid string }

// tryVector verifies one vector. The payloads of the vectors are plain text,
// hence open and not Parse.
func tryVector(v vector, keys func(string) *PublicKey) (ok bool, h claimed) {
	var token string
	if json.Unmarshal(v.JWS, &token) != nil {
		token = string(v.JWS) // JSON serialization, which is never accepted
	}
	_, _, err := open(token, Rules{Keys: keys})
	head, _, _ := strings.Cut(token, ".")
	if b, err := encoding().DecodeString(head); err == nil {
		_ = json.Unmarshal(b, &h)
	}
	return err == nil, h
}
