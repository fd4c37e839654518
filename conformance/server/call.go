package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Token asks for a token by client credentials; resource may be empty.
func (s *Server) Token(ctx context.Context, clientID, secret, resource string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}}
	if resource != "" {
		form.Set("resource", resource)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := s.do(request, http.StatusOK, &answer); err != nil {
		return "", err
	}
	return answer.AccessToken, nil
}

// Call makes one management call: body is sent as JSON unless nil, the answer
// is decoded into out unless nil, and any status other than 2xx is an error.
func (s *Server) Call(ctx context.Context, token, method, path string, body, out any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			request.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	return s.do(request, 0, out)
}

// Refusal is an answer that is not what was asked for.
type Refusal struct {
	Call   string
	Status int
	Header http.Header
	Body   string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.Call, r.Status, http.StatusText(r.Status), r.Body)
}

// Ask makes one request at the token endpoint or beside it with a form, through
// any client, and gives the answer as it is.
func (s *Server) Ask(ctx context.Context, client *http.Client, path string, form url.Values) (int, http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, text, err
}

func (s *Server) do(request *http.Request, want int, out any) error {
	response, err := s.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 || (want != 0 && response.StatusCode != want) {
		return &Refusal{request.Method + " " + request.URL.Path, response.StatusCode, response.Header, string(text)}
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, out)
}
