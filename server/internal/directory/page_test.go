package directory

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

const someAccount = "sa_0000000000000000000000000z"

func TestPageTokenLeadsOnlyThroughItsOwnList(t *testing.T) {
	t.Parallel()
	filter := ServiceAccountFilter{Owner: "ops", Labels: map[string]string{"a": "1", "b": "2"}}
	l := list("service accounts", filter, isID(identity.PrefixServiceAccount))
	token := l.token(someAccount)

	at, err := list("service accounts", filter, isID(identity.PrefixServiceAccount)).open(PageRequest{Token: token, Size: 7})
	if err != nil || at != (store.Page{Size: 7, After: someAccount}) {
		t.Fatalf("own token: %+v, %v", at, err)
	}
	for name, other := range map[string]listing{
		"another list":   list("roles", filter, isID(identity.PrefixServiceAccount)),
		"another filter": list("service accounts", ServiceAccountFilter{Owner: "dev"}, isID(identity.PrefixServiceAccount)),
		"another id":     list("service accounts", filter, isID(identity.PrefixRole)),
	} {
		if _, err := other.open(PageRequest{Token: token}); !fault.Is(err, fault.CodeInvalidPageToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"garbage":    "***",
		"padded":     token + "=",
		"cut":        token[:len(token)-3],
		"empty text": base64.RawURLEncoding.EncodeToString(nil),
		"an id":      base64.RawURLEncoding.EncodeToString([]byte(someAccount)),
		"NUL":        l.token("sa_\x00"),
		"SQL":        l.token("' OR 1=1 --"),
		"long":       l.token(someAccount + someAccount),
	} {
		if bad == "" {
			continue // no token is the first page
		}
		if _, err := l.open(PageRequest{Token: bad}); !fault.Is(err, fault.CodeInvalidPageToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPageSizeIsBounded(t *testing.T) {
	t.Parallel()
	l := list("roles", nil, isID(identity.PrefixRole))
	for size, want := range map[int]int{0: 50, 1: 1, 200: 200, 201: 0, -1: 0, 1 << 40: 0} {
		at, err := l.open(PageRequest{Size: size})
		if (err != nil) != (want == 0) || at.Size != want {
			t.Errorf("size %d: %+v, %v", size, at, err)
		}
	}
}

func TestEachWalksEveryPageAndStopsAtAnError(t *testing.T) {
	t.Parallel()
	pages := map[string][]string{"": {"a", "b"}, "b": {"c"}, "c": {"d"}}
	asked := 0
	read := func(at store.Page) ([]string, bool, error) {
		asked++
		return pages[at.After], at.After != "c", nil
	}
	self := func(s *string) string { return *s }
	var got []string
	for s, err := range each(read, self) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *s)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, got); diff != "" || asked != 3 {
		t.Errorf("%s after %d pages", diff, asked)
	}

	broken := errors.New("broken")
	n := 0
	for _, err := range each(func(store.Page) ([]string, bool, error) { return nil, true, broken }, self) {
		if n++; !errors.Is(err, broken) || n > 1 {
			t.Fatalf("step %d: %v", n, err)
		}
	}
}
