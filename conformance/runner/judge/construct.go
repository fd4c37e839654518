package judge

import (
	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/mint"
	"github.com/marque-id/marque/conformance/runner/protocol"
)

// construct asks for a client or a verifier. A step that says nothing gets one
// that works: the issuer of the case, its authority, a credential, and with a
// mock the fake clock. With chain only what the step says is passed on, so that
// the SDK has to find the rest.
func (r *running) construct(s *cases.Step, request protocol.Request) error {
	request["op"] = "new"
	environment := map[string]any{"XDG_CONFIG_HOME": r.dir}
	for name, value := range s.Environment {
		environment[name] = value
		if name == "MARQUE_API_KEY" { // one that is mistyped never goes over the wire, where the others are seen
			r.secret(value)
		}
	}
	issuer, authority := s.Issuer, r.Authority.File
	if !s.Chain && issuer == "" {
		issuer = r.issuer
	}
	switch s.Authority {
	case "other":
		authority = r.Other.File
	case "none":
		authority = ""
	case "":
		if s.Chain {
			authority = ""
		}
	}
	err := r.put(request, "issuer", issuer, "ca_file", authority, "environment", environment,
		"resource", s.Resource, "scopes", strs(s.Scopes), "audience", s.Audience, "revoked", strs(s.Revoked), "follow", s.Follow)
	if err != nil {
		return err
	}
	if s.Verifier != "" {
		request["as"], request["kind"] = s.Verifier, "verifier"
	} else {
		request["as"], request["kind"] = s.New, "client"
		if err := r.credentials(s, request); err != nil {
			return err
		}
	}
	for name, value := range map[string]*float64{"timeout": s.Timeout, "token_timeout": s.TokenTimeout, "leeway": s.Leeway} {
		if value != nil {
			request[name] = *value
		}
	}
	if s.Retries != nil {
		request["retries"] = *s.Retries
	}
	if s.RefreshWindows != nil {
		request["refresh_windows"] = s.RefreshWindows
	}
	switch {
	case s.Clock == "real" || r.Live:
	case s.Clock != "":
		return errClock
	default:
		request["clock"] = map[string]any{"at": mint.Now}
	}
	return nil
}

func (r *running) credentials(s *cases.Step, request protocol.Request) error {
	given := s.Credentials
	switch {
	case given != nil || s.Chain:
	case r.Live:
		given = map[string]any{"client_id": r.live.AdminID, "client_secret": r.live.AdminSecret}
	default:
		given = map[string]any{"client_id": clientID, "client_secret": clientSecret}
	}
	if given == nil {
		return nil
	}
	expanded, err := r.vars.expand(given)
	if err != nil {
		return err
	}
	members, _ := expanded.(map[string]any)
	for _, name := range [...]string{"client_secret", "api_key"} {
		r.secret(members[name])
	}
	request["credentials"] = members
	return nil
}

// secret remembers what no text of the SDK may have in it.
func (r *running) secret(value any) {
	if text, _ := value.(string); len(text) >= 8 {
		r.secrets = append(r.secrets, text)
	}
}
