package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// Page is a keyset page over time-ordered ids: the items behind After, in the
// order of ids. An item inserted meanwhile never moves another to a page where
// it would be missed or seen twice.
type Page struct {
	Size  int
	After string
}

// cut asks for one row more than the page holds, which tells whether there are more.
func (p Page) cut(q *bun.SelectQuery, column string) *bun.SelectQuery {
	if p.After != "" {
		q = q.Where("? > ?", bun.Ident(column), p.After)
	}
	return q.OrderExpr("? ASC", bun.Ident(column)).Limit(int64(p.size() + 1))
}

func (p Page) size() int { return max(p.Size, 1) }

// page converts the rows of a page and tells whether there are more.
func page[R, T any](rows []R, p Page, convert func(*R) (T, error)) (items []T, more bool, err error) {
	if len(rows) > p.size() {
		rows, more = rows[:p.size()], true
	}
	items = make([]T, len(rows))
	for i := range rows {
		if items[i], err = convert(&rows[i]); err != nil {
			return nil, false, err
		}
	}
	return items, more, nil
}

// namePrefix selects names by their beginning.
func namePrefix(q *bun.SelectQuery, column, prefix string) *bun.SelectQuery {
	if prefix == "" {
		return q
	}
	// Not LIKE: SQLite would ignore case there, and both would have wildcards.
	return q.Where("SUBSTR(?, 1, ?) = ?", bun.Ident(column), utf8.RuneCountInString(prefix), prefix)
}

// expiresBefore selects what has an end, and has it before t; a zero t selects
// everything.
func expiresBefore(q *bun.SelectQuery, t time.Time) *bun.SelectQuery {
	if t.IsZero() {
		return q
	}
	return q.Where("expires_at > 0").Where("expires_at < ?", micros(t))
}

// micros is a time as it is stored: 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func duration(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func encodeLabels(labels map[string]string) string {
	if len(labels) == 0 {
		return "{}"
	}
	b, err := json.Marshal(labels)
	if err != nil { // strings always marshal
		return "{}"
	}
	return string(b)
}

func decodeLabels(text string) (labels map[string]string, err error) {
	if text == "{}" {
		return nil, nil
	}
	return labels, json.Unmarshal([]byte(text), &labels)
}

func encodeNetworks(networks []netip.Prefix) string {
	var b strings.Builder
	for i, n := range networks {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(n.String())
	}
	return b.String()
}

func decodeNetworks(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	words := strings.Fields(text)
	networks := make([]netip.Prefix, len(words))
	for i, w := range words {
		n, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, err
		}
		networks[i] = n
	}
	return networks, nil
}

// encodeKinds writes kinds of credentials, which have no spaces.
func encodeKinds(kinds []identity.CredentialKind) string {
	texts := make([]string, len(kinds))
	for i, k := range kinds {
		texts[i] = string(k)
	}
	return strings.Join(texts, " ")
}

func decodeKinds(text string) (kinds []identity.CredentialKind) {
	for k := range strings.FieldsSeq(text) {
		kinds = append(kinds, identity.CredentialKind(k))
	}
	return kinds
}

// guarded runs an UPDATE that names the version it was decided on. When it hits
// nothing, exists tells a vanished row from one that has moved on.
func guarded(ctx context.Context, q *bun.UpdateQuery, exists func() error) error {
	result, err := q.Exec(ctx)
	if err != nil {
		return translate(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return translate(err)
	}
	if n > 0 {
		return nil
	}
	if err := exists(); err != nil {
		return err
	}
	return fault.Precondition()
}

// affected is the number of rows a statement has changed.
func affected(ctx context.Context, q interface {
	Exec(ctx context.Context, dest ...any) (sql.Result, error)
}) (int64, error) {
	result, err := q.Exec(ctx)
	if err != nil {
		return 0, translate(err)
	}
	n, err := result.RowsAffected()
	return n, translate(err)
}
