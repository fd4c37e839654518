package clientauth

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
)

func basic(text string) []string {
	return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(text))}
}

func TestParseFindsTheOneAuthenticationOfARequest(t *testing.T) {
	t.Parallel()
	type found struct {
		Method    Method
		ClientID  string
		Secret    string
		Challenge bool
	}
	tests := map[string]struct {
		header []string
		form   Params
		want   found
	}{
		"nothing":                        {want: found{}},
		"form":                           {form: Params{{"client_id", "a"}, {"client_secret", "s"}}, want: found{MethodForm, "a", "s", false}},
		"form without a client":          {form: Params{{"client_secret", "s"}}, want: found{MethodForm, "", "s", false}},
		"client alone proves nothing":    {form: Params{{"client_id", "a"}}, want: found{MethodNone, "a", "", false}},
		"basic":                          {header: basic("a:s"), want: found{MethodBasic, "a", "s", true}},
		"basic in any case":              {header: []string{"bASIC YTpz"}, want: found{MethodBasic, "a", "s", true}},
		"basic is form-urlencoded":       {header: basic("a%3Ab:s+%2B%20"), want: found{MethodBasic, "a:b", "s + ", true}},
		"secret may hold a colon":        {header: basic("a:s:t"), want: found{MethodBasic, "a", "s:t", true}},
		"basic beside its own client_id": {header: basic("a:s"), form: Params{{"client_id", "a"}}, want: found{MethodBasic, "a", "s", true}},
		"broken base64":                  {header: []string{"Basic !"}, want: found{Challenge: true}},
		"base64 of two spellings":        {header: []string{"Basic YTp="}, want: found{Challenge: true}},
		"no colon":                       {header: basic("as"), want: found{Challenge: true}},
		"broken escape":                  {header: basic("a:%zz"), want: found{Challenge: true}},
		"another scheme":                 {header: []string{"Bearer abc"}, want: found{Challenge: true}},
		"scheme alone":                   {header: []string{"Basic"}, want: found{Challenge: true}},
		"an assertion is not built yet":  {form: Params{{"client_assertion", "x"}}, want: found{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse(tt.header, tt.form)
			if err != nil {
				t.Fatal(err)
			}
			got := found{p.Method, p.ClientID, p.Secret.Reveal(), p.Challenge}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseRefusesMoreThanOneAuthentication(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header []string
		form   Params
	}{
		"two headers":                 {header: []string{"Basic YTpz", "Basic YTpz"}},
		"basic and secret":            {header: basic("a:s"), form: Params{{"client_secret", "s"}}},
		"basic and assertion":         {header: basic("a:s"), form: Params{{"client_assertion", "x"}}},
		"secret and assertion":        {form: Params{{"client_secret", "s"}, {"client_assertion", "x"}}},
		"basic and another client_id": {header: basic("a:s"), form: Params{{"client_id", "b"}}},
		"another scheme and a secret": {header: []string{"Bearer x"}, form: Params{{"client_secret", "s"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse(tt.header, tt.form); !fault.Is(err, fault.CodeInvalidRequest) {
				t.Errorf("got %v, want invalid_request", err)
			}
		})
	}
}
