package marque

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProtect(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	good := i.token(key, nil)
	handler := i.verifier(t).Protect(testAudience, "invoices:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := PrincipalFrom(r.Context())
		_, _ = io.WriteString(w, p.Subject)
	}))
	const invalid = `Bearer error="invalid_token", error_description="the token is not valid here: malformed, expired, revoked, or issued for another audience"`
	for name, test := range map[string]struct {
		path      string
		headers   []string
		status    int
		code      string
		challenge string
	}{
		"good":                  {"/", []string{"Bearer " + good}, 200, "", ""},
		"scheme in lower case":  {"/", []string{"bearer " + good}, 200, "", ""},
		"no token":              {"/", nil, 401, "unauthenticated", "Bearer"},
		"another scheme":        {"/", []string{"Basic YTpi"}, 401, "unauthenticated", "Bearer"},
		"an empty one":          {"/", []string{"Bearer "}, 401, "unauthenticated", "Bearer"},
		"garbage":               {"/", []string{"Bearer x"}, 401, "invalid_token", invalid},
		"two in one":            {"/", []string{"Bearer " + good + " " + good}, 401, "invalid_token", invalid},
		"expired":               {"/", []string{"Bearer " + i.token(key, map[string]any{"iat": 1, "exp": 2})}, 401, "invalid_token", invalid},
		"another audience":      {"/", []string{"Bearer " + i.token(key, map[string]any{"aud": "x"})}, 401, "invalid_token", invalid},
		"a permission too few":  {"/", []string{"Bearer " + i.token(key, map[string]any{"scope": "x"})}, 403, "insufficient_scope", `scope="invoices:read"`},
		"two headers":           {"/", []string{"Bearer " + good, "Bearer " + good}, 400, "invalid_request", "one Authorization header"},
		"in the URL":            {"/?access_token=" + good, nil, 400, "invalid_request", "never in the URL"},
		"in the URL as well":    {"/?a=b&access%5ftoken=x", []string{"Bearer " + good}, 400, "invalid_request", "never in the URL"},
		"another query is fine": {"/?my_access_token=x", []string{"Bearer " + good}, 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(http.MethodGet, test.path, nil)
			request.Header["Authorization"] = test.headers
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			challenge := recorder.Header().Get("WWW-Authenticate")
			if recorder.Code != test.status || !strings.Contains(challenge, test.challenge) || (challenge == "") != (test.challenge == "") {
				t.Fatalf("%d, WWW-Authenticate %q: %s", recorder.Code, challenge, recorder.Body)
			}
			if test.status == 200 {
				if recorder.Body.String() != testID {
					t.Errorf("the handler saw %q", recorder.Body)
				}
				return
			}
			var problem struct {
				Status int
				Code   string
			}
			if err := json.Unmarshal(recorder.Body.Bytes(), &problem); err != nil || problem.Status != test.status || problem.Code != test.code {
				t.Errorf("problem %s (%v)", recorder.Body, err)
			}
			if strings.Contains(recorder.Body.String()+challenge, good) {
				t.Error("the token is repeated")
			}
		})
	}
}

func TestABadTokenIsNever500AndAFailedFetchIs503(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer()
	i.publish(500)
	handler := i.verifier(t).Protect(testAudience)(http.NotFoundHandler())
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("Authorization", "Bearer "+i.token(key, nil))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != 503 || recorder.Header().Get("WWW-Authenticate") != "" || recorder.Header().Get("Retry-After") == "" || strings.Contains(recorder.Body.String(), "example.com") {
		t.Errorf("%d %v %s", recorder.Code, recorder.Header(), recorder.Body)
	}
}

func TestRequireScopesGuardsARoute(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	i := newIssuer(key)
	protect := i.verifier(t).Protect(testAudience)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	ask := func(h http.Handler) int {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Authorization", "Bearer "+i.token(key, nil))
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, request)
		return recorder.Code
	}
	if got := ask(protect(RequireScopes("invoices:write")(ok))); got != 200 {
		t.Error(got)
	}
	if got := ask(protect(RequireScopes("invoices:delete")(ok))); got != 403 {
		t.Error(got)
	}
	if got := ask(RequireScopes()(ok)); got != 401 {
		t.Errorf("%d outside of Protect", got)
	}
}

func TestProtectWithoutAnAudiencePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("any token would pass")
		}
	}()
	newIssuer().verifier(t).Protect("")
}

func TestAnErrorThatIsNoTokenErrorIsABare500(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	WriteTokenError(recorder, errors.New("mqs_internal"))
	if recorder.Code != 500 || strings.Contains(recorder.Body.String(), "mqs_internal") {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
}
