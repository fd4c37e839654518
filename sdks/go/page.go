package marque

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/url"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T `json:"items"`
	// NextPageToken gives the next page; it is empty on the last one.
	NextPageToken string `json:"next_page_token,omitempty"`
}

// getPage fetches the one page that in asks for.
func getPage[T any](ctx context.Context, c *Client, op *operation, in *input) (*Page[T], error) {
	page := new(Page[T])
	if err := c.do(ctx, op, in, page); err != nil {
		return nil, err
	}
	return page, nil
}

// paginate iterates over all items from the page that in asks for onwards. A
// page is fetched when its first item is asked for. An error ends the sequence,
// with a zero item. The sequence may be ranged over again, which asks again.
func paginate[T any](ctx context.Context, c *Client, op *operation, in *input) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		next := *in
		next.query = maps.Clone(in.query)
		for {
			page, err := getPage[T](ctx, c, op, &next)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.NextPageToken == "" {
				return
			}
			if next.query.Get("page_token") == page.NextPageToken {
				yield(zero, &Error{
					Kind: KindProtocol, Operation: op.id,
					Detail: "the list does not end: a page names itself as the next one",
					cause:  errors.New("next_page_token repeats page_token"),
				})
				return
			}
			if next.query == nil {
				next.query = url.Values{}
			}
			next.query.Set("page_token", page.NextPageToken)
		}
	}
}
