package directory

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"iter"
	"strings"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/store"
)

// How many items a page has when nothing is asked for, and at most.
const (
	DefaultPageSize = 50
	MaxPageSize     = 200
)

// PageRequest asks for one page of a list. Size 0 is [DefaultPageSize]. Token
// is the NextToken of an earlier page of the same list, or "".
type PageRequest struct {
	Size  int
	Token string
}

// Page is one page of a list. NextToken is "" on the last one.
type Page[T any] struct {
	Items     []T
	NextToken string
}

// listing is one list with its filters: what a page token belongs to.
type listing struct {
	digest [8]byte
	valid  func(position string) bool
}

// list names a list and its filters. A page token holds a digest of both, so
// that one taken from another list is refused instead of skipping items in
// silence. It is not signed: it says no more than where to go on.
func list(name string, filter any, valid func(position string) bool) listing {
	h := sha256.New()
	// Filters are plain structs, of which encoding/json writes every member in
	// a fixed order and cannot fail.
	_ = json.NewEncoder(h).Encode([]any{name, filter})
	l := listing{valid: valid}
	copy(l.digest[:], h.Sum(nil))
	return l
}

// open turns a request into a page of the store.
func (l listing) open(p PageRequest) (store.Page, error) {
	size := p.Size
	if size == 0 {
		size = DefaultPageSize
	}
	if size < 1 || size > MaxPageSize {
		return store.Page{}, fault.InvalidFields(fault.Field{Pointer: "?page_size", Detail: "must be 1 to 200"})
	}
	if p.Token == "" {
		return store.Page{Size: size}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(p.Token)
	position, ok := strings.CutPrefix(string(raw), string(l.digest[:]))
	if err != nil || !ok || !l.valid(position) {
		return store.Page{}, fault.New(fault.KindInvalid, fault.CodeInvalidPageToken,
			"the page token does not belong to this list with these filters")
	}
	return store.Page{Size: size, After: position}, nil
}

// token is where the next page begins: after position.
func (l listing) token(position string) string {
	return base64.RawURLEncoding.EncodeToString(append(l.digest[:], position...))
}

// viewPage reads one page in one view.
func viewPage[T any](
	ctx context.Context, s *Service, l listing, ask PageRequest,
	read func(r *store.Reader, at store.Page) ([]T, bool, error), position func(*T) string,
) (Page[T], error) {
	at, err := l.open(ask)
	if err != nil {
		return Page[T]{}, err
	}
	var out Page[T]
	err = s.store.View(ctx, func(r *store.Reader) error {
		items, more, err := read(r, at)
		if err != nil {
			return err
		}
		out = Page[T]{Items: items}
		if more && len(items) > 0 {
			out.NextToken = l.token(position(&items[len(items)-1]))
		}
		return nil
	})
	return out, err
}

// each walks through all items of a list of the store, page by page. It ends
// after an error.
func each[T any](read func(at store.Page) ([]T, bool, error), position func(*T) string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		at := store.Page{Size: MaxPageSize}
		for {
			items, more, err := read(at)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range items {
				if !yield(&items[i], nil) {
					return
				}
			}
			if !more || len(items) == 0 {
				return
			}
			at.After = position(&items[len(items)-1])
		}
	}
}

// collect gives all items of such a walk, or its error.
func collect[T any](items iter.Seq2[*T, error]) ([]T, error) {
	var out []T
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		out = append(out, *item)
	}
	return out, nil
}
