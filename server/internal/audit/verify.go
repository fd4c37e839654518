package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// Source is the record as it was read. All of it must come from one snapshot
// (one transaction that sees one state), else a chain that grows meanwhile
// looks broken. A pair with an error ends the verification.
type Source struct {
	// Chains are the heads as their rows say, in any order.
	Chains iter.Seq2[Head, error]
	// Links are all events, one chain after the other, each by seq. Columns
	// that are not stored are to be taken from [Decode].
	Links iter.Seq2[Link, error]
	// Checkpoints are all checkpoints by seq.
	Checkpoints iter.Seq2[SignedCheckpoint, error]
	// Open verifies a signed checkpoint (typ [CheckpointType]) under the keys
	// of this installation and returns its payload.
	Open func(signed string) (payload []byte, err error)
	// Kept are signed checkpoints that were kept elsewhere. Only they can tell
	// that the end of a chain and the last checkpoints were cut off together.
	Kept []string
}

// Verify reads the whole record once and reports what is wrong with it. An
// error means that it could not be read, not that it is bad.
//
// Memory: one head for each chain, and for each place that a checkpoint names
// 40 bytes, about 21 MB for a year of a chain that moves every minute.
func Verify(ctx context.Context, s Source) (Report, error) {
	v := &verifier{
		heads: make(map[string]Head), seals: make(map[string][]seal), seen: make(map[string]bool),
	}
	for _, step := range []func(context.Context, Source) error{v.checkpoints, v.chains, v.links} {
		if err := step(ctx, s); err != nil {
			return v.report, err
		}
	}
	v.unvisited()
	return v.report, nil
}

// seal is a place that a checkpoint vouches for.
type seal struct {
	seq        int64
	hash       Hash
	checkpoint int64 // its seq, for words
}

type verifier struct {
	report Report
	heads  map[string]Head   // as the rows say
	seals  map[string][]seal // by chain, seq ascending
	seen   map[string]bool   // chains whose events were read
}

func (v *verifier) chains(ctx context.Context, s Source) error {
	for h, err := range s.Chains {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		v.heads[h.Chain] = h
	}
	v.report.Chains = len(v.heads)
	return nil
}

func (v *verifier) links(ctx context.Context, s Source) error {
	var w *walk
	for l, err := range s.Links {
		if err != nil {
			return err
		}
		if v.report.Events++; v.report.Events%256 == 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if w == nil || w.head.Chain != l.Chain {
			v.finish(w)
			if v.seen[l.Chain] {
				return errorf("events of chain %s were read in two places: they must come chain by chain", l.Chain)
			}
			v.seen[l.Chain] = true
			w = v.begin(l.Chain)
		}
		if w.problem == nil {
			w.problem = w.step(&l)
		}
	}
	v.finish(w)
	return nil
}

func (v *verifier) begin(chain string) *walk {
	w := &walk{head: Head{Chain: chain}, seals: v.seals[chain]}
	if _, listed := v.heads[chain]; !listed {
		v.report.Chains++
		w.problem = &Problem{FindingStray, chain, 1, "", "these events belong to a chain that is not in the list of chains: its row was removed, or the events were put in from outside"}
	}
	return w
}

// finish compares the end of a chain with its head and its checkpoints.
func (v *verifier) finish(w *walk) {
	if w == nil {
		return
	}
	if w.problem == nil {
		w.problem = w.end(v.heads[w.head.Chain])
	}
	if w.problem != nil {
		v.report.found(w.problem)
		return
	}
	v.report.Unsealed += w.head.Seq - w.sealed
}

// unvisited finds chains of which not a single event was left.
func (v *verifier) unvisited() {
	chains := make([]string, 0)
	for c := range v.heads {
		chains = append(chains, c)
	}
	for c := range v.seals {
		if _, listed := v.heads[c]; !listed {
			chains = append(chains, c)
		}
	}
	slices.Sort(chains)
	for _, c := range chains {
		if v.seen[c] {
			continue
		}
		w := &walk{head: Head{Chain: c}, seals: v.seals[c]}
		if w.problem = w.end(v.heads[c]); w.problem == nil {
			w.problem = &Problem{FindingMissing, c, 1, "", "the chain has no events, not even the one that opened it"}
		}
		v.report.found(w.problem)
	}
}

// walk follows one chain.
type walk struct {
	head    Head   // of what was found good so far
	seals   []seal // not yet reached
	sealed  int64  // the last place that a checkpoint vouches for
	problem *Problem
}

// step judges the next link. The order of the questions matters: each is asked
// only when the ones before have been answered well, so that the answer names
// the cause and not a consequence.
func (w *walk) step(l *Link) *Problem {
	place := w.head.Seq + 1
	if l.Seq > place {
		return w.problemAt(FindingMissing, place, "%s", missing("event", place, l.Seq-1))
	}
	if l.Seq < place {
		return w.problemAt(FindingReordered, l.Seq, "a second event claims this place")
	}
	chain, seq, recorded, err := Decode(l.Canonical)
	hash := HashEvent(w.head.Hash, l.Canonical)
	switch {
	case hash != l.Hash && l.Prev == w.head.Hash:
		return w.problemAt(FindingAltered, place, "the event was altered after it was recorded: its bytes do not have the hash that was stored with them")
	case err == nil && chain != l.Chain:
		return w.problemAt(FindingReordered, place, "the event in this place was recorded in chain %s: it was moved or copied here", chain)
	case err == nil && seq != l.Seq:
		return w.problemAt(FindingReordered, place, "the event in this place was recorded as event %d: events were reordered or renumbered", seq)
	case l.Prev != w.head.Hash && l.Hash == hash:
		return w.problemAt(FindingAltered, place, "the stored hash of the event before this one was altered: the event follows it, but its row names another")
	case l.Prev != w.head.Hash:
		return w.problemAt(FindingAltered, place, "the event does not follow the one before it: one of the two was replaced or altered after it was recorded")
	case err != nil:
		return w.problemAt(FindingUnreadable, place, "the recorded bytes cannot be read: %v", err)
	}
	if column := differs(&l.Event, &recorded); column != "" {
		return w.problemAt(FindingColumns, place, "the column %s was altered: it says something else than the recorded bytes, which are intact", column)
	}
	w.head = l.Head()
	return w.checkSeals()
}

// checkSeals compares the place just reached with what checkpoints saw there.
func (w *walk) checkSeals() *Problem {
	for len(w.seals) > 0 && w.seals[0].seq == w.head.Seq {
		s := w.seals[0]
		if s.hash != w.head.Hash {
			return w.problemAt(FindingRewritten, w.head.Seq, "checkpoint %d was signed over another event in this place: the chain was rewritten up to here", s.checkpoint)
		}
		w.seals, w.sealed = w.seals[1:], s.seq
	}
	return nil
}

// end judges where the chain stops, given the head that its row names.
func (w *walk) end(row Head) *Problem {
	last := w.head.Seq
	if len(w.seals) > 0 {
		s := w.seals[len(w.seals)-1]
		return w.problemAt(FindingTruncated, last+1, "%s: checkpoint %d was signed when the chain had %d events; its end was cut off", missing("event", last+1, s.seq), s.checkpoint, s.seq)
	}
	switch {
	case row.Seq > last:
		return w.problemAt(FindingHead, last+1, "%s: the head of the chain stands at event %d; the end was cut off", missing("event", last+1, row.Seq), row.Seq)
	case row.Seq < last:
		return w.problemAt(FindingHead, row.Seq+1, "the head of the chain stands at event %d, but there are events up to %d: they were put in from outside, or the head was set back", row.Seq, last)
	case row.Hash != w.head.Hash:
		return w.problemAt(FindingHead, last, "the head of the chain names another hash than its last event has")
	}
	return nil
}

func (w *walk) problemAt(f Finding, seq int64, format string, args ...any) *Problem {
	return &Problem{Finding: f, Chain: w.head.Chain, Seq: seq, Text: fmt.Sprintf(format, args...)}
}

// missing says which numbered things are not there.
func missing(what string, from, to int64) string {
	if from == to {
		return fmt.Sprintf("%s %d is missing", what, from)
	}
	return fmt.Sprintf("%ss %d to %d are missing", what, from, to)
}
