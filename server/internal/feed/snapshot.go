package feed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// Snapshot is everything that is revoked at a position, as compressed JSON. Many
// share one: do not write to it.
type Snapshot struct {
	Position   int64
	Compressed []byte

	version uint64 // of what is revoked
	began   time.Time
}

const (
	// maxAudiences bounds the snapshots that are kept.
	maxAudiences = 64
	// keptFor is how long what has expired may still stand in one.
	keptFor = time.Minute
)

// snapshots are those that were made, by audience.
type snapshots struct {
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	making sync.Mutex
	last   *Snapshot
}

// Snapshot gives everything that is revoked, without the tokens that are known
// to be for another audience; "" is all. A crowd that asks at once is given one
// and the same. A node that may have missed something gives none: who took it
// would believe to know.
func (h *Hub) Snapshot(audience string) (*Snapshot, error) {
	if err := h.options.Store.Fresh(); err != nil {
		return nil, err
	}
	asked := h.options.Clock.Now()
	k := h.snapshots.of(audience)
	k.making.Lock()
	defer k.making.Unlock()
	if s := k.last; s != nil && asked.Sub(s.began) < keptFor &&
		(s.began.After(asked) || s.version == h.options.Store.RevocationsVersion()) {
		return s, nil
	}
	s, err := h.make(audience)
	if err == nil {
		k.last = s
	}
	return s, err
}

func (s *snapshots) of(audience string) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[audience]
	if k == nil {
		if s.kept == nil || len(s.kept) >= maxAudiences {
			s.kept = map[string]*kept{}
		}
		k = new(kept)
		s.kept[audience] = k
	}
	return k
}

// make reads what is revoked. Position and version come first: what is revoked
// meanwhile may stand in it already and be told of once more.
func (h *Hub) make(audience string) (*Snapshot, error) {
	st := h.options.Store
	s := &Snapshot{began: h.options.Clock.Now(), version: st.RevocationsVersion(), Position: st.Snapshot()}
	var out bytes.Buffer
	packed, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(packed, 32<<10)
	w.WriteString(`{"position":"` + text(s.Position) + `","at":"` + s.began.UTC().Format(time.RFC3339Nano) + `"`)
	list := st.Revoked()
	for _, of := range []struct {
		kind identity.RevocationKind
		name string
	}{
		{identity.RevokedServiceAccount, "service_accounts"},
		{identity.RevokedCredential, "credentials"},
		{identity.RevokedSigningKey, "signing_keys"},
	} {
		w.WriteString(`,"` + of.name + `":[`)
		comma := ""
		for i := range list {
			if r := &list[i]; r.Kind == of.kind {
				w.WriteString(comma + `{"id":"` + r.ID + `"`)
				if r.Gen > 0 {
					w.WriteString(`,"gen":` + strconv.FormatInt(r.Gen, 10))
				}
				w.WriteString(`,"expires_at":"` + r.ExpiresAt.Format(time.RFC3339) + `"}`)
				comma = ","
			}
		}
		w.WriteByte(']')
	}
	w.WriteString(`,"tokens":[`)
	comma := ""
	st.RevokedTokens(audience, func(group store.RevokedTokens) {
		w.WriteString(comma)
		writeTokens(w, &group)
		comma = ","
	})
	w.WriteString(`]}`)
	if err := w.Flush(); err != nil {
		return nil, err
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	s.Compressed = out.Bytes()
	return s, nil
}

func writeTokens(w *bufio.Writer, group *store.RevokedTokens) {
	w.WriteString(`{"ids":[`)
	for i, id := range group.IDs {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('"')
		w.WriteString(identity.FormatID(identity.PrefixToken, id))
		w.WriteByte('"')
	}
	w.WriteString(`],"expires_at":"` + group.ExpiresAt.Format(time.RFC3339) + `"}`)
}

// JSON reads it uncompressed.
func (s *Snapshot) JSON() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(s.Compressed)) }

// Packed reads it compressed.
func (s *Snapshot) Packed() io.Reader { return bytes.NewReader(s.Compressed) }
