package clientauth

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// The form parameters of client authentication (RFC 6749 section 2.3.1, RFC
// 7521 section 4.2).
const (
	paramClientID        = "client_id"
	paramClientSecret    = "client_secret"
	paramClientAssertion = "client_assertion"
)

// Params are the parameters of a form, decoded: each name once, none with an
// empty value (RFC 6749 section 3.2: sent without a value is as good as
// omitted, and none may be repeated; who parses the form sees to both). They are
// few, and looking through them costs less than making a map of them.
type Params []Param

// Param is one parameter of a form.
type Param struct{ Name, Value string }

// Get gives the value of a parameter, "" when it is not there.
func (p Params) Get(name string) string {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value
		}
	}
	return ""
}

// Parse finds the client authentication of a request: authorization holds the
// values of its Authorization header fields, params the form, each name once
// and none empty. Query parameters must not be in it: credentials in a URL are
// never read.
//
// It fails only where RFC 6749 section 2.3 says that the request itself is
// wrong, which is when it carries more than one client authentication. What is
// merely no good (broken base64, another scheme) is presented as such, so that
// it is refused, counted and answered in the same place as a wrong secret.
func Parse(authorization []string, params Params) (Presented, error) {
	id, secret, assertion := params.Get(paramClientID), params.Get(paramClientSecret), params.Get(paramClientAssertion)
	if secret != "" && assertion != "" {
		return Presented{}, twoAuthentications()
	}
	if len(authorization) > 1 {
		return Presented{Challenge: true}, twoAuthentications()
	}
	if len(authorization) == 0 {
		if secret == "" {
			return Presented{ClientID: id}, nil
		}
		return Presented{Method: MethodForm, ClientID: id, Secret: identity.NewSecretValue(secret)}, nil
	}

	if secret != "" || assertion != "" {
		return Presented{Challenge: true}, twoAuthentications()
	}
	p := Presented{Challenge: true}
	name, pass, ok := parseBasic(authorization[0])
	if !ok {
		p.ClientID = id
		return p, nil
	}
	if id != "" && id != name {
		return p, fault.Invalid("client_id differs from the client of the Authorization header")
	}
	p.Method, p.ClientID, p.Secret = MethodBasic, name, identity.NewSecretValue(pass)
	return p, nil
}

func twoAuthentications() error {
	return fault.Invalid("the request carries more than one client authentication")
}

// parseBasic reads "Basic" credentials. Both halves are form-urlencoded before
// they are joined and put in base64 (RFC 6749 section 2.3.1).
func parseBasic(header string) (name, pass string, ok bool) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return "", "", false
	}
	name, pass, ok = strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	if name, err = url.QueryUnescape(name); err != nil {
		return "", "", false
	}
	if pass, err = url.QueryUnescape(pass); err != nil {
		return "", "", false
	}
	return name, pass, true
}
