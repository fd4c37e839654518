package marque

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// pages answers a list of five accounts, two to a page.
func pages() *wire {
	return serving(func(_ int, s sent) *http.Response {
		next := map[string]string{"": `,"next_page_token":"p2"`, "p2": `,"next_page_token":"p3"`}
		at := map[string][]int{"": {1, 2}, "p2": {3, 4}, "p3": {5}}
		_, query, _ := strings.Cut(s.url, "page_token=")
		query, _, _ = strings.Cut(query, "&")
		var items []string
		for _, n := range at[query] {
			items = append(items, fmt.Sprintf(`{"id":"sa_%d"}`, n))
		}
		return respond(200, `{"items":[`+strings.Join(items, ",")+`]`+next[query]+`}`)
	})
}

func TestAListIsIteratedPageByPage(t *testing.T) {
	t.Parallel()
	w := pages()
	client, _ := newTestClient(t, w)
	params := &ServiceAccountsListParams{Kind: "agent", PageSize: 2}
	list := client.ServiceAccounts.List(t.Context(), params)
	for range 2 { // it may be ranged over again
		var ids []string
		for account, err := range list {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, account.ID)
		}
		if fmt.Sprint(ids) != "[sa_1 sa_2 sa_3 sa_4 sa_5]" {
			t.Errorf("iterated over %v", ids)
		}
	}
	if got := w.to("/v1/service-accounts"); len(got) != 6 || got[1].url != testIssuer+"/v1/service-accounts?kind=agent&page_size=2&page_token=p2" {
		t.Errorf("%d requests, the second to %s", len(got), got[1].url)
	}
}

func TestAPageIsFetchedWhenItsFirstItemIsAskedFor(t *testing.T) {
	t.Parallel()
	w := pages()
	client, _ := newTestClient(t, w)
	n := 0
	for range client.ServiceAccounts.List(t.Context(), nil) {
		if n++; n == 2 {
			break
		}
	}
	if got := len(w.to("/v1/service-accounts")); got != 1 {
		t.Errorf("%d pages for two items, want 1", got)
	}
	page, err := client.ServiceAccounts.ListPage(t.Context(), &ServiceAccountsListParams{PageToken: "p3"})
	if err != nil || len(page.Items) != 1 || page.NextPageToken != "" {
		t.Errorf("page %+v, %v", page, err)
	}
}

func TestAnErrorEndsAnIteration(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a refusal":                     ``,
		"a page that names itself next": `{"items":[],"next_page_token":"p2"}`,
	} {
		w := serving(func(n int, _ sent) *http.Response {
			if n == 1 {
				return respond(200, `{"items":[{"id":"sa_1"}],"next_page_token":"p2"}`)
			}
			if answer == "" {
				return respond(400, `{"code":"invalid_page_token"}`)
			}
			return respond(200, answer)
		})
		client, _ := newTestClient(t, w)
		var seen []string
		for account, err := range client.ServiceAccounts.List(t.Context(), nil) {
			seen = append(seen, fmt.Sprint(account.ID, " ", err != nil))
		}
		if fmt.Sprint(seen) != "[sa_1 false  true]" {
			t.Errorf("%s: saw %q", name, seen)
		}
	}
}
