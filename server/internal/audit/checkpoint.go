package audit

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// CheckpointType is the JWS header "typ" of a signed checkpoint.
const CheckpointType = "audit-checkpoint+jwt"

// Checkpoint joins the heads of chains at one moment. It is the payload of a
// JWS that the keyring signs with a key of its own; each one names the hash of
// the one before, so that none can be left out.
//
// Heads are those that have moved since the checkpoint before (or all): the
// verifier adds them up, so a list does not have to grow with every chain that
// was ever opened. At most one per chain, sorted by chain.
type Checkpoint struct {
	ID    string // chk_…
	Seq   int64  // from 1, without gaps
	At    time.Time
	Prev  Hash // of the checkpoint before; zero for the first
	Heads []Head
}

// SignedCheckpoint is a checkpoint as stored: its columns and the JWS.
type SignedCheckpoint struct {
	ID     string
	Seq    int64
	At     time.Time
	Hash   Hash   // [Checkpoint.Hash]
	Signed string // compact JWS
}

// NewCheckpoint makes the checkpoint that follows prev; the zero
// SignedCheckpoint stands before the first.
func NewCheckpoint(prev SignedCheckpoint, at time.Time, heads []Head) Checkpoint {
	at = at.UTC().Truncate(time.Microsecond)
	sorted := slices.Clone(heads)
	slices.SortFunc(sorted, func(a, b Head) int { return strings.Compare(a.Chain, b.Chain) })
	return Checkpoint{
		ID: identity.NewID(identity.PrefixCheckpoint, at), Seq: prev.Seq + 1, At: at,
		Prev: prev.Hash, Heads: sorted,
	}
}

// Sealed is the row of the checkpoint once it has been signed.
func (c *Checkpoint) Sealed(signed string) SignedCheckpoint {
	return SignedCheckpoint{ID: c.ID, Seq: c.Seq, At: c.At, Hash: c.Hash(), Signed: signed}
}

// Hash identifies the checkpoint's content; signing it again does not change it.
func (c *Checkpoint) Hash() Hash {
	return sha256.Sum256(c.AppendCanonical([]byte(checkpointDomain)))
}

// AppendCanonical appends the payload to be signed: JSON in a fixed order.
func (c *Checkpoint) AppendCanonical(b []byte) []byte {
	b = append(b, `{"v":1,"id":`...)
	b = appendString(b, c.ID)
	b = append(b, `,"seq":`...)
	b = appendInt(b, c.Seq)
	b = append(b, `,"at":`...)
	b = appendTime(b, c.At)
	b = append(b, `,"prev":`...)
	b = appendHash(b, c.Prev)
	b = append(b, `,"heads":[`...)
	for i := range c.Heads {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"chain":`...)
		b = appendString(b, c.Heads[i].Chain)
		b = append(b, `,"seq":`...)
		b = appendInt(b, c.Heads[i].Seq)
		b = append(b, `,"hash":`...)
		b = appendHash(b, c.Heads[i].Hash)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}
