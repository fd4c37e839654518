package audit_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
)

// record is what a store would hold, in plain slices that a test may damage.
type record struct {
	heads       []audit.Head
	links       []audit.Link
	checkpoints []audit.SignedCheckpoint
	kept        []string
}

// newRecord is a good record: chain A with 6 events and chain B with 3, sealed
// by checkpoint 1 at A2 B3, by checkpoint 2 at A4; A5 and A6 are unsealed.
func newRecord(t *testing.T) *record {
	t.Helper()
	r := &record{}
	a, b := r.open(t, "chn_a"), r.open(t, "chn_b")
	r.add(t, a, 1)
	r.add(t, b, 2)
	r.seal(a, b)
	r.add(t, a, 2)
	r.seal(a)
	r.add(t, a, 2)
	slices.SortFunc(r.links, func(x, y audit.Link) int {
		return strings.Compare(fmt.Sprint(x.Chain, x.Seq), fmt.Sprint(y.Chain, y.Seq))
	})
	return r
}

func (r *record) open(t *testing.T, chain string) int {
	t.Helper()
	l, err := audit.Genesis(chain, noon, map[string]string{"version": "test"})
	if err != nil {
		t.Fatal(err)
	}
	r.links = append(r.links, l)
	r.heads = append(r.heads, l.Head())
	return len(r.heads) - 1
}

func (r *record) add(t *testing.T, chain, n int) {
	t.Helper()
	for range n {
		e := full()
		e.ID = "" // a fresh one each
		l, err := r.heads[chain].Next(e)
		if err != nil {
			t.Fatal(err)
		}
		r.links = append(r.links, l)
		r.heads[chain] = l.Head()
	}
}

func (r *record) seal(chains ...int) {
	var heads []audit.Head
	for _, c := range chains {
		heads = append(heads, r.heads[c])
	}
	var prev audit.SignedCheckpoint
	if n := len(r.checkpoints); n > 0 {
		prev = r.checkpoints[n-1]
	}
	c := audit.NewCheckpoint(prev, noon.Add(time.Duration(prev.Seq)*time.Minute), heads)
	r.checkpoints = append(r.checkpoints, c.Sealed(sign(&c)))
}

// sign stands in for the keyring: what it returns opens, nothing else does.
func sign(c *audit.Checkpoint) string { return "signed by us:" + string(c.AppendCanonical(nil)) }

func openSigned(signed string) ([]byte, error) {
	payload, ok := strings.CutPrefix(signed, "signed by us:")
	if !ok {
		return nil, errors.New("no key of ours")
	}
	return []byte(payload), nil
}

func (r *record) source() audit.Source {
	return audit.Source{
		Chains: each(r.heads), Links: each(r.links), Checkpoints: each(r.checkpoints),
		Open: openSigned, Kept: r.kept,
	}
}

func each[T any](s []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range s {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// at is the index of an event of a good record.
func (r *record) at(chain string, seq int64) int {
	return slices.IndexFunc(r.links, func(l audit.Link) bool { return l.Chain == chain && l.Seq == seq })
}

func (r *record) link(chain string, seq int64) *audit.Link { return &r.links[r.at(chain, seq)] }

func (r *record) remove(chain string, seq int64) {
	i := r.at(chain, seq)
	r.links = slices.Delete(r.links, i, i+1)
}

// setHead makes the chain's row agree with its last event, as a forger would.
func (r *record) setHead(chain string, h audit.Head) {
	for i := range r.heads {
		if r.heads[i].Chain == chain {
			r.heads[i] = h
		}
	}
}

// rewrite lets a forger with the whole database replace an event and hash the
// chain anew up to its head.
func (r *record) rewrite(t *testing.T, chain string, seq int64) {
	t.Helper()
	head := audit.Head{Chain: chain}
	for i := range r.links {
		l := &r.links[i]
		if l.Chain != chain {
			continue
		}
		if l.Seq >= seq {
			e := l.Event
			if l.Seq == seq {
				e.Actor = "sa_somebody_else"
			}
			forged, err := head.Next(e)
			if err != nil {
				t.Fatal(err)
			}
			*l = forged
		}
		head = l.Head()
	}
	r.setHead(chain, head)
}
