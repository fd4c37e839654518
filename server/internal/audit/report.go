package audit

import "fmt"

// Report is what a verification found.
type Report struct {
	Chains      int   // chains that were read
	Events      int64 // events that were read
	Checkpoints int64 // checkpoints that were read
	Unsealed    int64 // good events that no checkpoint covers yet: the last minute, usually
	Broken      int   // problems found, at most one for each chain and one for the checkpoints
	First       *Problem
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return r.Broken == 0 }

// Finding is the closed set of what can be wrong with the record.
type Finding string

// The findings.
const (
	FindingAltered     Finding = "altered"      // the bytes of an event are not those that were hashed
	FindingMissing     Finding = "missing"      // a place in the middle is empty
	FindingReordered   Finding = "reordered"    // an event stands in a place that is not its own, or twice
	FindingColumns     Finding = "columns"      // the columns say something else than the hashed bytes
	FindingUnreadable  Finding = "unreadable"   // the bytes are not a canonical event
	FindingHead        Finding = "head"         // the chain's head is not its last event
	FindingTruncated   Finding = "truncated"    // a signed checkpoint saw more than there is
	FindingRewritten   Finding = "rewritten"    // a signed checkpoint saw another event in that place
	FindingStray       Finding = "stray"        // events of a chain that is not in the list of chains
	FindingCheckpoint  Finding = "checkpoint"   // the list of checkpoints is not whole, or contradicts itself
	FindingForeignSign Finding = "foreign_sign" // a checkpoint is unsigned or signed by a key that is not ours
)

// Problem is one finding, where it is and what it means.
type Problem struct {
	Finding    Finding
	Chain      string // "" when it is about checkpoints only
	Seq        int64  // place in the chain, or of the checkpoint
	Checkpoint string // id of the checkpoint that tells, if one does
	Text       string // for an operator
}

// String is the problem as one line.
func (p *Problem) String() string {
	if p.Chain == "" {
		return fmt.Sprintf("checkpoint %d: %s", p.Seq, p.Text)
	}
	return fmt.Sprintf("chain %s, event %d: %s", p.Chain, p.Seq, p.Text)
}

func (r *Report) found(p *Problem) {
	r.Broken++
	if r.First == nil {
		r.First = p
	}
}
