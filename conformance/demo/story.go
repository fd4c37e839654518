package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// story prints what it does while it does it. After the first failure nothing
// more happens, and err says what went wrong.
type story struct {
	ctx    context.Context
	out    io.Writer
	client *client
	server *server

	everySDK bool // none may be left out

	chapters int
	err      error
}

func (s *story) chapter(title string, words ...string) {
	if s.err != nil {
		return
	}
	s.chapters++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.chapters, title)
	for _, line := range words {
		fmt.Fprintf(s.out, "   %s\n", line)
	}
}

func (s *story) say(format string, args ...any) {
	if s.err == nil {
		fmt.Fprintf(s.out, "   %s\n", fmt.Sprintf(format, args...))
	}
}

// check fails the story when something is not as it was told.
func (s *story) check(ok bool, format string, args ...any) {
	if s.err == nil && !ok {
		s.err = fmt.Errorf("chapter %d: %s", s.chapters, fmt.Sprintf(format, args...))
	}
}

// json makes a management call and shows it.
func (s *story) json(method, path string, who auth, body object, want int) object {
	if s.err != nil {
		return nil
	}
	contentType, content := "", io.Reader(nil)
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.err = err
			return nil
		}
		content, contentType = strings.NewReader(string(text)), "application/json"
		if method == http.MethodPatch {
			contentType = "application/merge-patch+json"
		}
		fmt.Fprintf(s.out, "   > %s %s  %s\n", method, path, text)
	} else {
		fmt.Fprintf(s.out, "   > %s %s\n", method, path)
	}
	a, err := s.client.do(s.ctx, method, path, who, contentType, content)
	return s.finish(a, err, want)
}

// form makes a call to an OAuth endpoint and shows it, tokens shortened.
func (s *story) form(path string, who auth, params url.Values, want int) object {
	if s.err != nil {
		return nil
	}
	var shown []string
	for _, name := range []string{"grant_type", "resource", "scope", "token"} {
		if params.Has(name) {
			shown = append(shown, name+"="+shorten(params.Get(name)))
		}
	}
	fmt.Fprintf(s.out, "   > POST %s  %s\n", path, strings.Join(shown, "&"))
	a, err := s.client.do(s.ctx, http.MethodPost, path, who, "application/x-www-form-urlencoded", strings.NewReader(params.Encode()))
	return s.finish(a, err, want)
}

// interesting are the members that a reader of the story wants to see.
var interesting = [...]string{
	"error", "error_description", "active", "access_token", "token_type", "expires_in", "id", "identifier", "name",
	"status", "client_secret", "scope", "roles", "gen", "code", "detail", "errors",
}

func (s *story) finish(a answer, err error, want int) object {
	if err != nil {
		s.err = fmt.Errorf("chapter %d: %w", s.chapters, err)
		return nil
	}
	var shown []string
	for _, name := range interesting {
		if v, ok := a.body[name]; ok {
			shown = append(shown, fmt.Sprintf("%s: %s", name, show(name, v)))
		}
	}
	fmt.Fprintf(s.out, "   < %d  %s\n", a.status, strings.Join(shown, ", "))
	s.check(a.status == want, "the answer should have been %d", want)
	return a.body
}

// show keeps secrets and long texts short.
func show(name string, v any) string {
	switch v := v.(type) {
	case string:
		if name == "client_secret" {
			return v[:4] + "… (shown this once)"
		}
		return shorten(v)
	case []any:
		return fmt.Sprint(v...)
	default:
		return fmt.Sprint(v)
	}
}

func shorten(text string) string {
	const enough = 96
	if strings.HasPrefix(text, "eyJ") {
		return text[:16] + "…"
	}
	if len(text) > enough {
		return text[:enough] + "…"
	}
	return text
}

// text is a string member of an object, or "".
func text(o object, name string) string {
	v, _ := o[name].(string)
	return v
}
