package marque

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// maxScopes is the most that a token of Marque has.
const maxScopes = 64

// Principal is who presented a token, and what the token allows. It is read
// only: verifications of the same token share its slices.
type Principal struct {
	Subject  string   // the service account that the token stands for
	ClientID string   // the service account that got it
	Issuer   string   // the Marque that issued it
	Audience []string // the APIs that it is for
	Scopes   []string // the permissions that it gives
	Roles    []string // the names of the roles that gave them
	TokenID  string   // jti
	// Credential is the id of the credential that earned the token.
	Credential string
	// Generation is the account's revocation generation when it was issued.
	Generation int64
	IssuedAt   time.Time
	Expires    time.Time
	// Confirmation is the cnf claim (RFC 7800) as JSON: what a bound token is
	// bound to. It is nil for a bearer token.
	Confirmation json.RawMessage

	notBefore time.Time
	payload   string
	kid       string // of the key that signed it
}

// HasScopes reports whether the token gives all of these permissions.
func (p *Principal) HasScopes(scopes ...string) bool { return len(p.missing(scopes)) == 0 }

// HasRole reports whether a role of this name gave something in the token.
func (p *Principal) HasRole(name string) bool { return slices.Contains(p.Roles, name) }

// Claims decodes all claims of the token into out, as encoding/json does.
func (p *Principal) Claims(out any) error { return json.Unmarshal([]byte(p.payload), out) }

func (p *Principal) missing(scopes []string) (missing []string) {
	for _, scope := range scopes {
		if !slices.Contains(p.Scopes, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// readClaims reads a payload. The claims that RFC 9068 section 2.2 demands must
// be there, and each claim that is known must be of its type; others are left
// to Claims.
func readClaims(payload string) (*Principal, bool) {
	members, ok := readObject(payload, maxTokenDepth)
	if !ok {
		return nil, false
	}
	p := &Principal{payload: payload}
	var iat, nbf, exp int64
	for _, m := range members {
		ok := true
		switch m.name {
		case "iss":
			p.Issuer, ok = stringValue(m.value)
		case "sub":
			p.Subject, ok = stringValue(m.value)
		case "client_id":
			p.ClientID, ok = stringValue(m.value)
		case "jti":
			p.TokenID, ok = stringValue(m.value)
		case "aud":
			p.Audience, ok = audience(m.value)
		case "iat":
			iat, ok = integerValue(m.value)
		case "nbf":
			nbf, ok = integerValue(m.value)
		case "exp":
			exp, ok = integerValue(m.value)
		case "scope":
			var scope string
			if scope, ok = stringValue(m.value); ok {
				p.Scopes = strings.Fields(scope)
				ok = len(p.Scopes) <= maxScopes
			}
		case "roles":
			p.Roles, ok = stringsValue(m.value)
		case "gen":
			p.Generation, ok = integerValue(m.value)
		case "cred":
			p.Credential, ok = stringValue(m.value)
		case "cnf":
			_, ok = readObject(m.value, maxTokenDepth-1)
			p.Confirmation = json.RawMessage(m.value)
		}
		if !ok {
			return nil, false
		}
	}
	if p.Issuer == "" || p.Subject == "" || p.ClientID == "" || p.TokenID == "" ||
		len(p.Audience) == 0 || iat == 0 || exp <= iat {
		return nil, false
	}
	p.IssuedAt, p.Expires, p.notBefore = time.Unix(iat, 0).UTC(), time.Unix(exp, 0).UTC(), time.Unix(max(nbf, iat), 0).UTC()
	return p, true
}

// audience is a string or a list of strings (RFC 7519 section 4.1.3).
func audience(value string) ([]string, bool) {
	if strings.HasPrefix(value, `"`) {
		one, ok := stringValue(value)
		return []string{one}, ok && one != ""
	}
	return stringsValue(value)
}
