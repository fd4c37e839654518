package cases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/marque-id/marque/conformance/runner/mint"
)

// vectorFile is a file of tokens that one verifier judges.
type vectorFile struct {
	Suite     string            `json:"suite"`
	Keys      map[string]string `json:"keys"`      // name → algorithm, or a JWK
	Published []string          `json:"published"` // which of them the issuer publishes
	Vectors   []struct {
		Name     string     `json:"name"`
		Token    mint.Token `json:"token"`
		Audience string     `json:"audience"`
		Refused  any        `json:"refused"` // the reason, or a matcher; absent: accepted
	} `json:"vectors"`

	// Wycheproof names a file of C2SP/wycheproof, testvectors_v1, whose vectors are
	// not part of this repository.
	Wycheproof string `json:"wycheproof"`
}

const apiAudience = "https://api.example.com"

func loadVectors(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var all []*Case
	var failures []error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var v vectorFile
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&v); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", file, err))
			continue
		}
		made := v.cases()
		if v.Wycheproof != "" {
			if made, err = wycheproof(v.Suite, v.Wycheproof); err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", file, err))
			}
		}
		for _, c := range made {
			c.File = file
		}
		all = append(all, made...)
	}
	return all, errors.Join(append(failures, distinct(all))...)
}

func (v *vectorFile) cases() []*Case {
	var all []*Case
	for _, vector := range v.Vectors {
		audience := vector.Audience
		if audience == "" {
			audience = apiAudience
		}
		step := Step{Verify: "v", JWT: "it"}
		if vector.Refused != nil {
			step.Error = map[string]any{"kind": "verification", "code": vector.Refused}
		} else {
			step.Expect = map[string]any{"client_id": "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"}
		}
		all = append(all, &Case{
			Suite: v.Suite, Name: vector.Name, Keys: v.Keys,
			Mock:   jwks(v.Published),
			Tokens: map[string]mint.Token{"it": vector.Token},
			Steps:  []Step{{Verifier: "v", Audience: audience}, step},
		})
	}
	return all
}
