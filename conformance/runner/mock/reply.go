package mock

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Reply is one scripted reply. At most one of JSON, Token, Problem, OAuth, JWKS,
// HTML, Body, Fill and Stream says what its body is.
type Reply struct {
	Status  int               `yaml:"status"`
	Headers map[string]string `yaml:"headers"`

	JSON    any      `yaml:"json"`
	Token   *Token   `yaml:"token"`   // an answer of the token endpoint
	Problem string   `yaml:"problem"` // problem details with this code
	OAuth   string   `yaml:"oauth"`   // an OAuth error
	JWKS    []string `yaml:"jwks"`    // the public parts of these keys
	HTML    string   `yaml:"html"`
	Body    string   `yaml:"body"`
	Fill    int      `yaml:"fill"`   // so many bytes of a JSON string
	Stream  []Piece  `yaml:"stream"` // server-sent events, one after the other

	Hold     string `yaml:"hold"`     // not before this is released
	Drop     bool   `yaml:"drop"`     // cut the connection instead
	Hang     bool   `yaml:"hang"`     // never answer
	Truncate bool   `yaml:"truncate"` // cut the connection amid the body
}

// Token is an answer of the token endpoint.
type Token struct {
	AccessToken string `yaml:"access_token"`
	TokenType   string `yaml:"token_type"` // Bearer when empty
	ExpiresIn   int    `yaml:"expires_in"`
	Scope       string `yaml:"scope"`
}

const requestID = "req_01jzt3v0q8n4m6x2c9k7b5h1d0"

func (r Reply) status() int {
	switch {
	case r.Status != 0:
		return r.Status
	case r.Problem != "" || r.OAuth != "":
		return http.StatusBadRequest
	}
	return http.StatusOK
}

func (r Reply) render(s *Server) (http.Header, []byte, error) {
	text, contentType, err := r.body(s)
	if err != nil {
		return nil, nil, err
	}
	header := http.Header{"X-Request-Id": {requestID}}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	for name, value := range r.Headers {
		header.Set(name, s.expand(value))
		if value == "" {
			header.Del(name)
		}
	}
	return header, text, nil
}

func (r Reply) body(s *Server) ([]byte, string, error) {
	const asJSON = "application/json"
	switch {
	case r.Token != nil:
		members := map[string]any{"access_token": r.Token.AccessToken, "token_type": "Bearer", "expires_in": r.Token.ExpiresIn, "scope": r.Token.Scope}
		if r.Token.TokenType != "" {
			members["token_type"] = r.Token.TokenType
		}
		text, err := json.Marshal(members)
		return text, asJSON, err
	case r.Problem != "":
		text, err := json.Marshal(map[string]any{
			"type": "urn:marque:problem:" + r.Problem, "title": "A scripted problem", "status": r.status(), "code": r.Problem,
			"detail": "the script says so", "request_id": requestID,
		})
		return text, "application/problem+json", err
	case r.OAuth != "":
		text, err := json.Marshal(map[string]any{"error": r.OAuth, "error_description": "the script says so"})
		return text, asJSON, err
	case r.Stream != nil:
		return nil, "text/event-stream", nil
	case r.JWKS != nil:
		text, err := s.keys.JWKS(r.JWKS)
		return text, asJSON, err
	case r.HTML != "":
		return []byte(r.HTML), "text/html; charset=utf-8", nil
	case r.Fill > 0:
		return fmt.Appendf(nil, `{"access_token":"%s","token_type":"Bearer","expires_in":900,"items":[]}`, strings.Repeat("a", r.Fill)), asJSON, nil
	case r.JSON != nil:
		text, err := json.Marshal(r.JSON)
		return []byte(s.expand(string(text))), asJSON, err
	default:
		return []byte(r.Body), asJSON, nil
	}
}
