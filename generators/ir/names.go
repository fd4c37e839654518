package ir

import (
	"strings"
	"unicode"
)

// Name is a name as its words in lower case, to be spelled as a language likes.
type Name []string

// ParseName takes a name apart at underscores, hyphens, dots and changes of case.
func ParseName(s string) Name {
	var name Name
	var word []rune
	flush := func() {
		if len(word) > 0 {
			name = append(name, strings.ToLower(string(word)))
			word = nil
		}
	}
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0:
			// A capital begins a word after a small letter (aB), and, at the end
			// of a run of capitals, before one (the W of JSONWeb).
			next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if !unicode.IsUpper(runes[i-1]) && !unicode.IsDigit(runes[i-1]) || next {
				flush()
			}
		}
		word = append(word, r)
	}
	flush()
	return name
}

// Snake spells some_name.
func (n Name) Snake() string { return strings.Join(n, "_") }

// Screaming spells SOME_NAME.
func (n Name) Screaming() string { return strings.ToUpper(n.Snake()) }

// Kebab spells some-name.
func (n Name) Kebab() string { return strings.Join(n, "-") }

// Plain spells SomeName and keeps no initialism: SomeId.
func (n Name) Plain() string {
	var out strings.Builder
	for _, word := range n {
		out.WriteString(title(word))
	}
	return out.String()
}

// PlainCamel spells someName and keeps no initialism: someId.
func (n Name) PlainCamel() string {
	if len(n) == 0 {
		return ""
	}
	return n[0] + n[1:].Plain()
}

// Pascal spells SomeName with initialisms as Go writes them: SomeID.
func (n Name) Pascal() string {
	var out strings.Builder
	for _, word := range n {
		if special, ok := initialisms[word]; ok {
			out.WriteString(special)
		} else {
			out.WriteString(title(word))
		}
	}
	return out.String()
}

// Camel spells someName with initialisms as Go writes them: someID, idOfSome.
func (n Name) Camel() string {
	if len(n) == 0 {
		return ""
	}
	return n[0] + n[1:].Pascal()
}

// Words spells some name.
func (n Name) Words() string { return strings.Join(n, " ") }

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// initialisms are the words that Go and acronyms of this field write in their
// own way.
var initialisms = map[string]string{
	"api": "API", "eddsa": "EdDSA", "es256": "ES256", "http": "HTTP", "id": "ID", "ids": "IDs",
	"ip": "IP", "json": "JSON", "jti": "JTI", "jwk": "JWK", "jwks": "JWKS", "jwt": "JWT", "kid": "KID",
	"oauth": "OAuth", "openapi": "OpenAPI", "openid": "OpenID", "rs256": "RS256", "tls": "TLS",
	"ttl": "TTL", "uri": "URI", "uris": "URIs", "url": "URL",
}
