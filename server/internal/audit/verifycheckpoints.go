package audit

import (
	"context"
	"fmt"
)

// checkpoints verifies the list of checkpoints and collects what they vouch
// for. After the first bad one the rest is still opened, so that as much of the
// events as possible is held against what was signed.
func (v *verifier) checkpoints(ctx context.Context, s Source) error {
	c := checkpointWalk{v: v, open: s.Open, last: make(map[string]seal), hashes: make(map[int64]Hash)}
	for row, err := range s.Checkpoints {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		v.report.Checkpoints++
		if p := c.step(&row, len(s.Kept) > 0); p != nil && c.problem == nil {
			c.problem = p
		}
	}
	for _, signed := range s.Kept {
		if p := c.kept(signed); p != nil && c.problem == nil {
			c.problem = p
		}
	}
	if c.problem != nil {
		v.report.found(c.problem)
	}
	return nil
}

type checkpointWalk struct {
	v       *verifier
	open    func(string) ([]byte, error)
	prev    SignedCheckpoint
	last    map[string]seal // the highest place named so far, by chain
	hashes  map[int64]Hash  // of the stored checkpoints; only when some were kept
	problem *Problem
}

func (c *checkpointWalk) step(row *SignedCheckpoint, remember bool) *Problem {
	defer func() { c.prev = *row }()
	payload, err := c.open(row.Signed)
	if err != nil {
		return checkpointProblem(FindingForeignSign, row, "it is not signed, or not by a key of this installation: %v", err)
	}
	doc, err := ParseCheckpoint(payload)
	if err != nil {
		return checkpointProblem(FindingCheckpoint, row, "the signed text is not a checkpoint: %v", err)
	}
	if remember {
		c.hashes[doc.Seq] = doc.Hash()
	}
	// What was signed counts, whatever its row says.
	contradiction := c.collect(&doc)
	switch place := c.prev.Seq + 1; {
	case row.Seq > place:
		return checkpointProblem(FindingCheckpoint, &SignedCheckpoint{ID: row.ID, Seq: place}, "%s", missing("checkpoint", place, row.Seq-1))
	case row.Seq < place:
		return checkpointProblem(FindingCheckpoint, row, "a second checkpoint claims this place")
	case doc.Seq != row.Seq:
		return checkpointProblem(FindingCheckpoint, row, "it was signed as checkpoint %d: checkpoints were reordered or renumbered", doc.Seq)
	case doc.Prev != c.prev.Hash:
		return checkpointProblem(FindingCheckpoint, row, "it does not follow the checkpoint before it, which was replaced")
	case doc.ID != row.ID || !doc.At.Equal(row.At) || doc.Hash() != row.Hash:
		return checkpointProblem(FindingCheckpoint, row, "its columns were altered: they say something else than what was signed")
	}
	return contradiction
}

// collect remembers what a signed checkpoint vouches for. Earlier ones matter
// too: the end of a chain may be rewritten and then sealed anew by a server that
// does not know.
func (c *checkpointWalk) collect(doc *Checkpoint) *Problem {
	var problem *Problem
	for _, h := range doc.Heads {
		last, now := c.last[h.Chain], seal{h.Seq, h.Hash, doc.Seq}
		switch {
		case h.Seq == last.seq && h.Hash == last.hash:
			continue
		case h.Seq > last.seq:
			c.v.seals[h.Chain] = append(c.v.seals[h.Chain], now)
			c.last[h.Chain] = now
		case problem == nil:
			problem = &Problem{FindingCheckpoint, h.Chain, h.Seq, doc.ID, fmt.Sprintf(
				"checkpoint %d saw this event as the last one, after checkpoint %d had seen event %d: the chain was cut back or rewritten in between",
				doc.Seq, last.checkpoint, last.seq)}
		}
	}
	return problem
}

// kept holds a checkpoint that was kept elsewhere against the stored ones.
func (c *checkpointWalk) kept(signed string) *Problem {
	payload, err := c.open(signed)
	if err != nil {
		return &Problem{Finding: FindingForeignSign, Text: fmt.Sprintf("the checkpoint that was kept elsewhere is not signed by a key of this installation: %v", err)}
	}
	doc, err := ParseCheckpoint(payload)
	if err != nil {
		return &Problem{Finding: FindingCheckpoint, Text: fmt.Sprintf("what was kept elsewhere is not a checkpoint: %v", err)}
	}
	if hash, stored := c.hashes[doc.Seq]; !stored || hash != doc.Hash() {
		return checkpointProblem(FindingTruncated, &SignedCheckpoint{ID: doc.ID, Seq: doc.Seq}, "it was kept elsewhere but is not in the list any more: the end of the record was cut off or replaced")
	}
	return nil
}

func checkpointProblem(f Finding, at *SignedCheckpoint, format string, args ...any) *Problem {
	return &Problem{Finding: f, Seq: at.Seq, Checkpoint: at.ID, Text: fmt.Sprintf(format, args...)}
}
