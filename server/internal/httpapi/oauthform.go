package httpapi

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/grant"
)

// maxFormParameters is far above what any client sends.
const maxFormParameters = 64

// readForm parses the form of an OAuth endpoint exactly, and takes the body away
// so that the generated handler's own decoder, in which the last of two equal
// parameters wins, finds nothing: the JSON null, which costs it least.
func (k *call) readForm(c *fiber.Ctx) (err error) {
	contentType := string(c.Request().Header.ContentType())
	k.form, err = parseForm(contentType, string(c.Request().Body()))
	c.Request().SetBodyString("null")
	c.Request().Header.SetContentType(fiber.MIMEApplicationJSON)
	return err
}

// parseForm reads application/x-www-form-urlencoded by RFC 6749 appendix B and
// section 3.2: a parameter without a value is as good as omitted, none may stand
// twice, unknown ones are kept for whoever knows them. Nothing of the text is
// repeated in an error: it may be a secret in the wrong place.
func parseForm(contentType, body string) (grant.Params, error) {
	if !isMediaType(contentType, fiber.MIMEApplicationForm) {
		return nil, fault.Invalid("the request must be a form: Content-Type %s", fiber.MIMEApplicationForm)
	}
	form := make(grant.Params, 0, 6)
	var empty []string
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		if pair == "" {
			continue
		}
		name, value, err := parsePair(pair)
		if err != nil {
			return nil, err
		}
		if form.Get(name) != "" || slices.Contains(empty, name) {
			return nil, fault.Invalid("a parameter stands in the form more than once")
		}
		if len(form)+len(empty) == maxFormParameters {
			return nil, fault.Invalid("the form has more than %d parameters", maxFormParameters)
		}
		if value == "" {
			empty = append(empty, name)
			continue
		}
		form = append(form, clientauth.Param{Name: name, Value: value})
	}
	return form, nil
}

func parsePair(pair string) (name, value string, err error) {
	name, value, _ = strings.Cut(pair, "=")
	if name, err = unescape(name); err != nil {
		return "", "", err
	}
	value, err = unescape(value)
	return name, value, err
}

// unescape decodes one name or value. Tokens and secrets have nothing to decode
// and are long, so that is found out first.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '+') >= 0 {
		var err error
		if s, err = url.QueryUnescape(s); err != nil {
			return "", fault.Invalid("the form is not properly percent-encoded")
		}
	}
	if !readable(s) {
		return "", fault.Invalid("the form must be UTF-8 without control characters")
	}
	return s, nil
}

// readable reports whether s is text that may be stored, logged and compared.
func readable(s string) bool {
	if visible(s) {
		return true
	}
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// visible reports whether s is ASCII without control characters, eight bytes
// at a time: b + (0x7f - '~') sets the top bit of what is above '~', and
// b - ' ' borrows into it for what is below ' '.
func visible(s string) bool {
	const top, tilde, space = 0x8080808080808080, 0x0101010101010101, 0x2020202020202020
	for len(s) >= 8 {
		b := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// Where no byte has its top bit, none carries or borrows into the next
		// but out of one that is refused anyway.
		if (b|(b+tilde)|(b-space))&top != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// formToken is the token that introspection and revocation are about.
func (k *call) formToken() (string, error) {
	if raw := k.form.Get("token"); raw != "" {
		return raw, nil
	}
	return "", fault.Invalid("the parameter token is missing")
}
