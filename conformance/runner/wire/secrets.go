package wire

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Secrets are the secrets and tokens in these exchanges: what a trace masks and
// what no text of an SDK may have in it.
func Secrets(exchanges []Exchange) []string {
	found := map[string]bool{}
	add := func(s string) {
		if len(s) >= 8 {
			found[s] = true
		}
	}
	for _, e := range exchanges {
		fromHeader(e.Header, add)
		if form, err := url.ParseQuery(string(e.Body)); err == nil {
			add(form.Get("client_secret"))
		}
		for _, body := range [][]byte{e.Body, e.ResponseBody} {
			var members struct {
				AccessToken  string `json:"access_token"`
				ClientSecret string `json:"client_secret"`
				APIKey       string `json:"api_key"`
			}
			if json.Unmarshal(body, &members) == nil {
				add(members.AccessToken)
				add(members.ClientSecret)
				add(members.APIKey)
			}
		}
	}
	var all []string
	for s := range found {
		all = append(all, s)
	}
	return all
}

func fromHeader(h http.Header, add func(string)) {
	scheme, credential, _ := strings.Cut(h.Get("Authorization"), " ")
	switch strings.ToLower(scheme) {
	case "bearer", "dpop":
		add(credential)
	case "basic":
		add(credential)
		if pair, err := base64.StdEncoding.DecodeString(credential); err == nil {
			_, secret, _ := strings.Cut(string(pair), ":")
			add(secret)
		}
	}
}

// Mask replaces the given secrets by their first characters.
func Mask(secrets []string) func(string) string {
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, s[:4]+"***")
	}
	replacer := strings.NewReplacer(pairs...)
	return replacer.Replace
}
