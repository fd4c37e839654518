package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// Hash is a SHA-256 value.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether the hash is that of nothing: what stands before the
// first event of a chain and before the first checkpoint.
func (h Hash) IsZero() bool { return h == Hash{} }

// Domains keep the hash of one kind of document from being that of another.
const (
	eventDomain      = "marque audit event v1\n"
	checkpointDomain = "marque audit checkpoint v1\n"
)

// Head is the last place taken in a chain: what the store keeps in the chain's
// row and reads FOR UPDATE before it appends.
type Head struct {
	Chain string // chn_…
	Seq   int64  // 0 before the first event
	Hash  Hash   // zero before the first event
}

// Link is one event in its place. Prev is the hash of the event before it, and
// Hash = SHA-256(domain ‖ Prev ‖ Canonical). Chain and Seq also stand inside
// the canonical bytes, so a link cannot move.
type Link struct {
	Chain     string
	Seq       int64 // from 1, without gaps
	Prev      Hash
	Hash      Hash
	Canonical []byte
	Event     Event // normalized; of a stored link: as its columns say
}

// Head is the chain's head once the link has been appended.
func (l *Link) Head() Head { return Head{Chain: l.Chain, Seq: l.Seq, Hash: l.Hash} }

// NewChain is the id of a chain to be opened.
func NewChain(now time.Time) string { return identity.NewID(identity.PrefixAuditChain, now) }

// Genesis makes the first link of a chain. Details tell which process opened
// it (node, version).
func Genesis(chain string, at time.Time, details map[string]string) (Link, error) {
	return Head{Chain: chain}.Next(Event{
		At: at, Type: ChainOpened, Outcome: Success, Actor: ActorSystem, Details: details,
	})
}

// Next gives the event the place after the head, with an id if it has none. It
// neither stores anything nor changes h: the caller writes the link and the new
// head in one transaction and drops both when that fails, so a place is taken
// exactly when its event is durable.
func (h Head) Next(e Event) (Link, error) {
	if err := e.Validate(); err != nil {
		return Link{}, err
	}
	if e.ID == "" {
		e.ID = identity.NewID(identity.PrefixAuditEvent, e.At)
	}
	l := Link{Chain: h.Chain, Seq: h.Seq + 1, Prev: h.Hash, Event: e.Normalize()}
	l.Canonical = AppendCanonical(make([]byte, 0, canonicalSize), l.Chain, l.Seq, &l.Event)
	l.Hash = HashEvent(l.Prev, l.Canonical)
	return l, nil
}

// HashEvent is the hash of the canonical bytes of an event that follows prev.
func HashEvent(prev Hash, canonical []byte) Hash {
	d := sha256.New()
	_, _ = d.Write([]byte(eventDomain)) // a hash never fails
	_, _ = d.Write(prev[:])
	_, _ = d.Write(canonical)
	var h Hash
	d.Sum(h[:0])
	return h
}

func errorf(format string, args ...any) error { return fmt.Errorf("audit: "+format, args...) }
