package httpapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/grant"
)

const formType = "application/x-www-form-urlencoded"

func TestFormIsReadExactly(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, contentType, body string
		want                    grant.Params
	}{
		{"plain", formType, "grant_type=client_credentials&scope=a+b", grant.Params{{Name: "grant_type", Value: "client_credentials"}, {Name: "scope", Value: "a b"}}},
		{"with a charset", formType + "; charset=UTF-8", "a=b", grant.Params{{Name: "a", Value: "b"}}},
		{"type in capitals", "Application/X-WWW-Form-URLencoded", "a=b", grant.Params{{Name: "a", Value: "b"}}},
		{"percent-encoded name and value", formType, "%67rant_type=%41%26", grant.Params{{Name: "grant_type", Value: "A&"}}},
		{"empty value counts as absent", formType, "scope=&a=b", grant.Params{{Name: "a", Value: "b"}}},
		{"name without an equals sign", formType, "scope&a=b", grant.Params{{Name: "a", Value: "b"}}},
		{"unknown parameters are kept", formType, "x=1", grant.Params{{Name: "x", Value: "1"}}},
		{"empty pairs", formType, "&&a=b&", grant.Params{{Name: "a", Value: "b"}}},
		{"names are compared exactly", formType, "Scope=x&scope=y", grant.Params{{Name: "Scope", Value: "x"}, {Name: "scope", Value: "y"}}},
		{"nothing", formType, "", grant.Params{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseForm(c.contentType, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormIsRefused(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, contentType, body string }{
		{"JSON", "application/json", `{"grant_type":"client_credentials"}`},
		{"XML", "application/xml", "<grant_type>client_credentials</grant_type>"},
		{"multipart", "multipart/form-data; boundary=x", "--x--"},
		{"text", "text/plain", "grant_type=client_credentials"},
		{"no content type", "", "grant_type=client_credentials"},
		{"a type that only begins like a form", formType + "x", "a=b"},
		{"repeated parameter", formType, "scope=a&scope=a"},
		{"repeated, once empty first", formType, "scope=&scope=a"},
		{"repeated, once empty last", formType, "scope=a&scope="},
		{"repeated unknown parameter", formType, "x=1&x=2"},
		{"repeated in another encoding", formType, "scope=a&%73cope=b"},
		{"broken percent-encoding", formType, "scope=%zz"},
		{"broken percent-encoding in a name", formType, "%=a"},
		{"NUL", formType, "scope=a%00b"},
		{"NUL in a name", formType, "sco%00pe=a"},
		{"line feed", formType, "scope=a%0Ab"},
		{"C1 control character", formType, "scope=a%C2%85b"},
		{"not UTF-8", formType, "scope=%FF"},
		{"too many parameters", formType, manyParameters(maxFormParameters + 1)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseForm(c.contentType, c.body)
			if !fault.Is(err, fault.CodeInvalidRequest) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestEachParameterOfEachFormMayStandOnce(t *testing.T) {
	t.Parallel()
	for _, form := range formSchemas(t) {
		for name := range form.Properties {
			if _, err := parseForm(formType, name+"=a&"+name+"=b"); !fault.Is(err, fault.CodeInvalidRequest) {
				t.Errorf("%s twice: %v", name, err)
			}
		}
	}
}

func TestFormErrorsRepeatNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"hush=1&hush=2", "hush=%zz", "a=hush%00"} {
		if _, err := parseForm(formType, body); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("p")
		b.WriteString(strings.Repeat("x", i))
		b.WriteString("=1&")
	}
	return b.String()
}

func FuzzForm(f *testing.F) {
	f.Add("grant_type=client_credentials&scope=a+b&client_id=sa_1&client_secret=%6dqs")
	f.Add("a=&a=b")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := parseForm(formType, body)
		if err != nil {
			return
		}
		for i, p := range form {
			if p.Value == "" || !readable(p.Name) || !readable(p.Value) || form[:i].Get(p.Name) != "" {
				t.Errorf("%q: %q=%q came through", body, p.Name, p.Value)
			}
		}
	})
}

func TestVisibleASCIIIsFoundByteByByte(t *testing.T) {
	t.Parallel()
	for length := range 18 {
		for at := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("~", length))
				b[at] = byte(c)
				if got, want := visible(string(b)), c >= ' ' && c <= '~'; got != want {
					t.Fatalf("byte %#02x at %d of %d: %t", c, at, length, got)
				}
			}
		}
	}
	if visible("\x1f\x20\x20\x20\x20\x20\x20\x20") || visible("\xff\x00\x20\x20\x20\x20\x20\x20") || !visible("        ") {
		t.Error("a byte is judged by its neighbour")
	}
}
