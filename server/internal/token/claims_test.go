package token

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleClaims() Claims {
	return Claims{
		Issuer: "https://marque.example", Subject: "sa_1", ClientID: "sa_1", Audience: "https://api.example",
		IssuedAt: 1_700_000_000, NotBefore: 1_700_000_000, ExpiresAt: 1_700_000_900, TokenID: "tok_1",
		Scope: "invoices:read invoices:write", Roles: []string{"clerk", "reader"}, Gen: 3, CredentialID: "sec_1",
	}
}

func TestClaimsStandInTheTokenAsDocumented(t *testing.T) {
	t.Parallel()
	c := sampleClaims()
	want := `{"iss":"https://marque.example","sub":"sa_1","client_id":"sa_1","aud":"https://api.example",` +
		`"iat":1700000000,"nbf":1700000000,"exp":1700000900,"jti":"tok_1","scope":"invoices:read invoices:write",` +
		`"roles":["clerk","reader"],"gen":3,"cred":"sec_1"}`
	if got := string(appendClaims(nil, &c)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestClaimsComeBackFromTheirPayload(t *testing.T) {
	t.Parallel()
	odd := sampleClaims()
	odd.Roles = nil
	odd.Audience = "urn:a\"b\\c\u0001\u00e9\u2028"
	odd.Gen = 0
	for _, c := range []Claims{sampleClaims(), odd} {
		got, err := decodeClaims(appendClaims(nil, &c))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestDecodingTakesNothingButOurClaims(t *testing.T) {
	t.Parallel()
	c := sampleClaims()
	valid := string(appendClaims(nil, &c))
	replace := func(old, new string) string {
		out := strings.Replace(valid, old, new, 1)
		if out == valid {
			t.Fatalf("%s does not stand in the claims", old)
		}
		return out
	}
	tests := map[string]string{
		"empty":                     "",
		"null":                      "null",
		"array":                     "[]",
		"no claims":                 "{}",
		"something behind":          valid + "x",
		"second object":             valid + valid,
		"cut off":                   valid[:len(valid)-1],
		"cut off in a string":       valid[:len(valid)-3],
		"missing claim":             replace(`"iss":"https://marque.example",`, ""),
		"missing last claim":        replace(`,"cred":"sec_1"`, ""),
		"unknown claim":             replace(`{`, `{"cnf":{"jkt":"x"},`),
		"claim twice":               replace(`{`, `{"gen":3,`),
		"claim in another case":     replace(`"gen"`, `"Gen"`),
		"exp as a string":           replace(`1700000900`, `"1700000900"`),
		"exp with a fraction":       replace(`1700000900`, `1700000900.0`),
		"exp with an exponent":      replace(`1700000900`, `17e8`),
		"exp negative":              replace(`1700000900`, `-1`),
		"exp beyond 2^53":           replace(`1700000900`, `9007199254740993`),
		"exp overflowing":           replace(`1700000900`, `99999999999999999999`),
		"exp with a leading zero":   replace(`1700000900`, `01700000900`),
		"exp null":                  replace(`1700000900`, `null`),
		"aud empty":                 replace(`"https://api.example"`, `""`),
		"aud as a list":             replace(`"https://api.example"`, `["https://api.example"]`),
		"aud null":                  replace(`"https://api.example"`, `null`),
		"roles as a string":         replace(`["clerk","reader"]`, `"clerk"`),
		"roles empty":               replace(`["clerk","reader"]`, `[]`),
		"roles with an empty one":   replace(`"clerk"`, `""`),
		"roles with a number":       replace(`"clerk"`, `7`),
		"roles with a comma behind": replace(`"reader"]`, `"reader",]`),
		"roles open":                replace(`"reader"]`, `"reader"`),
		"comma behind the last":     replace(`"sec_1"}`, `"sec_1",}`),
		"no colon":                  replace(`"gen":3`, `"gen" 3`),
		"control character":         replace(`sec_1`, "sec\n1"),
		"broken escape":             replace(`sec_1`, `sec\q1`),
		"escape at the end":         valid[:len(valid)-3] + `\`,
		"not UTF-8":                 replace(`sec_1`, "sec\xff1"),
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := decodeClaims([]byte(payload)); err == nil {
				t.Errorf("accepted %s as %+v", payload, c)
			}
		})
	}
}

// FuzzDecodeClaims holds the decoder against encoding/json: what it accepts,
// encoding/json reads the same way.
func FuzzDecodeClaims(f *testing.F) {
	c := sampleClaims()
	f.Add(appendClaims(nil, &c))
	f.Add([]byte(`{"iss":"a\u00e9","aud":"\"","roles":["x" , "y"]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := decodeClaims(payload)
		if err != nil {
			return
		}
		var want struct {
			Iss, Sub      string
			ClientID      string `json:"client_id"`
			Aud           string
			Iat, Nbf, Exp int64
			Jti, Scope    string
			Roles         []string
			Gen           int64
			Cred          string
		}
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		same := Claims{
			want.Iss, want.Sub, want.ClientID, want.Aud, want.Iat, want.Nbf, want.Exp,
			want.Jti, want.Scope, want.Roles, want.Gen, want.Cred,
		}
		if diff := cmp.Diff(same, got); diff != "" {
			t.Errorf("-encoding/json +got:\n%s", diff)
		}
	})
}

// FuzzAppendString holds the writer against encoding/json as a reader.
func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\x00\x1f\u2028\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got != want { // each byte that is not UTF-8 is one U+FFFD
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
