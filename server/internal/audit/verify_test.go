package audit_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
)

func verify(t *testing.T, r *record) audit.Report {
	t.Helper()
	report, err := audit.Verify(t.Context(), r.source())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestAGoodRecordVerifies(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	r.kept = []string{r.checkpoints[0].Signed, r.checkpoints[1].Signed}
	want := audit.Report{Chains: 2, Events: 9, Checkpoints: 2, Unsealed: 2}
	if d := cmp.Diff(want, verify(t, r)); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	if got := verify(t, &record{}); !got.OK() {
		t.Errorf("an empty record: %v", got.First)
	}
}

// TestTampering is the table of what somebody with the database in hand may try.
func TestTampering(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper  func(t *testing.T, r *record)
		finding audit.Finding
		chain   string
		seq     int64
		text    string
	}{
		"hash column altered": {func(_ *testing.T, r *record) { r.link("chn_a", 3).Hash[5] ^= 1 },
			audit.FindingAltered, "chn_a", 3, "altered after it was recorded"},
		"previous-hash column altered": {func(_ *testing.T, r *record) { r.link("chn_a", 3).Prev[5] ^= 1 },
			audit.FindingAltered, "chn_a", 3, "its row names another"},
		"event and its hash replaced": {func(_ *testing.T, r *record) {
			l := r.link("chn_a", 3)
			l.Event.Actor = "sa_somebody_else"
			l.Canonical = audit.AppendCanonical(nil, l.Chain, l.Seq, &l.Event)
			l.Hash = audit.HashEvent(l.Prev, l.Canonical)
		}, audit.FindingAltered, "chn_a", 4, "does not follow the one before it"},
		"canonical bytes of something else, hashed well": {func(_ *testing.T, r *record) {
			l := r.link("chn_a", 6)
			l.Canonical = []byte("{}")
			l.Hash = audit.HashEvent(l.Prev, l.Canonical)
			r.setHead("chn_a", l.Head())
		}, audit.FindingUnreadable, "chn_a", 6, "cannot be read"},
		"event removed": {func(_ *testing.T, r *record) { r.remove("chn_a", 3) },
			audit.FindingMissing, "chn_a", 3, "event 3 is missing"},
		"two events removed": {func(_ *testing.T, r *record) { r.remove("chn_a", 3); r.remove("chn_a", 4) },
			audit.FindingMissing, "chn_a", 3, "events 3 to 4 are missing"},
		"first event removed": {func(_ *testing.T, r *record) { r.remove("chn_a", 1) },
			audit.FindingMissing, "chn_a", 1, "event 1 is missing"},
		"event removed and the others renumbered": {func(_ *testing.T, r *record) {
			r.remove("chn_a", 3)
			for seq := int64(4); seq <= 6; seq++ {
				r.link("chn_a", seq).Seq--
			}
		}, audit.FindingReordered, "chn_a", 3, "was recorded as event 4"},
		"two events swapped": {func(_ *testing.T, r *record) {
			i, j := r.at("chn_a", 3), r.at("chn_a", 4)
			r.links[i], r.links[j] = r.links[j], r.links[i]
			r.links[i].Seq, r.links[j].Seq = 3, 4
		}, audit.FindingReordered, "chn_a", 3, "was recorded as event 4"},
		"event copied": {func(_ *testing.T, r *record) {
			i := r.at("chn_a", 3)
			r.links = slices.Insert(r.links, i, r.links[i])
		}, audit.FindingReordered, "chn_a", 3, "second event"},
		"event of another chain put in": {func(_ *testing.T, r *record) {
			l := *r.link("chn_b", 3)
			l.Chain, l.Seq = "chn_a", 7
			r.links = slices.Insert(r.links, r.at("chn_b", 1), l)
		}, audit.FindingReordered, "chn_a", 7, "recorded in chain chn_b"},
		"event appended without the head": {func(t *testing.T, r *record) {
			old := slices.Clone(r.heads)
			r.add(t, 0, 1)
			r.heads = old
			last := r.links[len(r.links)-1]
			r.links = slices.Insert(r.links[:len(r.links)-1], r.at("chn_b", 1), last)
		}, audit.FindingHead, "chn_a", 7, "stands at event 6, but there are events up to 7"},
		"unsealed end cut off": {func(_ *testing.T, r *record) { r.remove("chn_a", 6) },
			audit.FindingHead, "chn_a", 6, "event 6 is missing: the head of the chain stands at event 6"},
		"sealed end cut off, head set back": {func(_ *testing.T, r *record) {
			for seq := int64(3); seq <= 6; seq++ {
				r.remove("chn_a", seq)
			}
			r.setHead("chn_a", r.link("chn_a", 2).Head())
		}, audit.FindingTruncated, "chn_a", 3, "checkpoint 2 was signed when the chain had 4 events"},
		"head hash altered": {func(_ *testing.T, r *record) { r.heads[0].Hash[0] ^= 1 },
			audit.FindingHead, "chn_a", 6, "another hash than its last event"},
		"sealed part rewritten": {func(t *testing.T, r *record) { r.rewrite(t, "chn_a", 2) },
			audit.FindingRewritten, "chn_a", 2, "checkpoint 1 was signed over another event"},
		"sealed part rewritten and sealed anew": {func(t *testing.T, r *record) {
			r.rewrite(t, "chn_a", 4)
			r.seal(0)
		}, audit.FindingRewritten, "chn_a", 4, "checkpoint 2 was signed over another event"},
		"chain row removed": {func(_ *testing.T, r *record) { r.heads = r.heads[:1] },
			audit.FindingStray, "chn_b", 1, "not in the list of chains"},
		"chain row put in": {func(_ *testing.T, r *record) { r.heads = append(r.heads, audit.Head{Chain: "chn_c"}) },
			audit.FindingMissing, "chn_c", 1, "has no events"},
		"all events of a chain removed": {func(_ *testing.T, r *record) {
			r.links = r.links[:r.at("chn_b", 1)]
			r.setHead("chn_b", audit.Head{Chain: "chn_b"})
		}, audit.FindingTruncated, "chn_b", 1, "events 1 to 3 are missing"},
		"a chain removed without a trace": {func(_ *testing.T, r *record) {
			r.links = r.links[:r.at("chn_b", 1)]
			r.heads = r.heads[:1]
		}, audit.FindingTruncated, "chn_b", 1, "events 1 to 3 are missing: checkpoint 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecord(t)
			c.tamper(t, r)
			expectFirst(t, verify(t, r), c.finding, c.chain, c.seq, c.text)
		})
	}
}

func expectFirst(t *testing.T, r audit.Report, f audit.Finding, chain string, seq int64, text string) {
	t.Helper()
	switch p := r.First; {
	case p == nil:
		t.Error("nothing was found")
	case p.Finding != f || p.Chain != chain || p.Seq != seq || !strings.Contains(p.String(), text):
		t.Errorf("found %s %q %d: %s\nwant %s %q %d: …%s…", p.Finding, p.Chain, p.Seq, p, f, chain, seq, text)
	}
}

// Every byte that is hashed counts, in every event, sealed or not.
func TestEveryByteOfEveryEventIsCovered(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	for i := range r.links {
		whole := r.links[i].Canonical
		for at := range whole {
			r.links[i].Canonical = slices.Clone(whole)
			r.links[i].Canonical[at] ^= 1
			p := verify(t, r).First
			if p == nil || p.Finding != audit.FindingAltered || p.Chain != r.links[i].Chain || p.Seq != r.links[i].Seq {
				t.Fatalf("byte %d of %s %d: found %v", at, r.links[i].Chain, r.links[i].Seq, p)
			}
		}
		r.links[i].Canonical = whole
	}
}

func TestEveryColumnIsCovered(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*audit.Event){
		"id":            func(e *audit.Event) { e.ID += "x" },
		"at":            func(e *audit.Event) { e.At = e.At.Add(time.Microsecond) },
		"type":          func(e *audit.Event) { e.Type = audit.TokenRevoked },
		"outcome":       func(e *audit.Event) { e.Outcome = audit.Refused },
		"reason":        func(e *audit.Event) { e.Reason += "x" },
		"actor":         func(e *audit.Event) { e.Actor = "" },
		"account_id":    func(e *audit.Event) { e.AccountID += "x" },
		"subject":       func(e *audit.Event) { e.Subject += "x" },
		"credential_id": func(e *audit.Event) { e.CredentialID += "x" },
		"audience":      func(e *audit.Event) { e.Audience += "x" },
		"scope":         func(e *audit.Event) { e.Scope += " admin" },
		"token_id":      func(e *audit.Event) { e.TokenID += "x" },
		"address":       func(e *audit.Event) { e.Address = e.Address.Next() },
		"request_id":    func(e *audit.Event) { e.RequestID += "x" },
		"trace_id":      func(e *audit.Event) { e.TraceID += "x" },
		"count":         func(e *audit.Event) { e.Count++ },
		"details":       func(e *audit.Event) { e.Details = map[string]string{"a": "2", "gen": "2"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecord(t)
			change(&r.link("chn_a", 3).Event)
			expectFirst(t, verify(t, r), audit.FindingColumns, "chn_a", 3, "the column "+name+" was altered")
		})
	}
}

func TestTamperingWithCheckpoints(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper  func(t *testing.T, r *record)
		finding audit.Finding
		seq     int64
		text    string
	}{
		"unsigned": {func(_ *testing.T, r *record) { r.checkpoints[0].Signed = "" },
			audit.FindingForeignSign, 1, "not signed, or not by a key of this installation"},
		"signed by somebody else": {func(_ *testing.T, r *record) {
			r.checkpoints[1].Signed = "signed by them" + r.checkpoints[1].Signed[len("signed by us"):]
		}, audit.FindingForeignSign, 2, "no key of ours"},
		"something else of ours": {func(_ *testing.T, r *record) { r.checkpoints[0].Signed = "signed by us:{}" },
			audit.FindingCheckpoint, 1, "not a checkpoint"},
		"first removed": {func(_ *testing.T, r *record) { r.checkpoints = r.checkpoints[1:] },
			audit.FindingCheckpoint, 1, "checkpoint 1 is missing"},
		"middle removed": {func(_ *testing.T, r *record) {
			r.seal(0)
			r.checkpoints = slices.Delete(r.checkpoints, 1, 2)
		}, audit.FindingCheckpoint, 2, "checkpoint 2 is missing"},
		"removed and renumbered": {func(_ *testing.T, r *record) {
			r.checkpoints = r.checkpoints[1:]
			r.checkpoints[0].Seq = 1
		}, audit.FindingCheckpoint, 1, "signed as checkpoint 2"},
		"copied": {func(_ *testing.T, r *record) { r.checkpoints = append(r.checkpoints, r.checkpoints[1]) },
			audit.FindingCheckpoint, 2, "second checkpoint"},
		"id column altered": {func(_ *testing.T, r *record) { r.checkpoints[1].ID = "chk_x" },
			audit.FindingCheckpoint, 2, "columns were altered"},
		"time column altered": {func(_ *testing.T, r *record) { r.checkpoints[1].At = noon.Add(time.Hour) },
			audit.FindingCheckpoint, 2, "columns were altered"},
		"hash column altered": {func(_ *testing.T, r *record) { r.checkpoints[1].Hash[0] ^= 1 },
			audit.FindingCheckpoint, 2, "columns were altered"},
		"another of ours in its place": {func(_ *testing.T, r *record) {
			c := audit.NewCheckpoint(audit.SignedCheckpoint{}, noon, r.heads[1:])
			r.checkpoints[0] = c.Sealed(sign(&c))
		}, audit.FindingCheckpoint, 2, "does not follow the checkpoint before it"},
		"kept elsewhere, cut off here": {func(_ *testing.T, r *record) {
			r.kept = []string{r.checkpoints[1].Signed}
			r.checkpoints = r.checkpoints[:1]
		}, audit.FindingTruncated, 2, "kept elsewhere but is not in the list"},
		"kept elsewhere, not ours": {func(_ *testing.T, r *record) { r.kept = []string{"x"} },
			audit.FindingForeignSign, 0, "kept elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecord(t)
			c.tamper(t, r)
			expectFirst(t, verify(t, r), c.finding, "", c.seq, c.text)
		})
	}
}

// A server that does not know that its chain was cut back seals it again.
func TestACheckpointThatNamesLessThanTheOneBeforeIsFound(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	for seq := int64(3); seq <= 6; seq++ {
		r.remove("chn_a", seq)
	}
	r.setHead("chn_a", r.link("chn_a", 2).Head())
	r.heads[0] = audit.Head{Chain: "chn_a", Seq: 1, Hash: r.link("chn_a", 1).Hash}
	r.seal(0)
	expectFirst(t, verify(t, r), audit.FindingCheckpoint, "chn_a", 1, "cut back or rewritten")
}

func TestEachBrokenChainIsCountedOnce(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	r.link("chn_a", 2).Hash[0] ^= 1
	r.link("chn_a", 4).Hash[0] ^= 1
	r.link("chn_b", 2).Hash[0] ^= 1
	r.checkpoints[0].Signed = ""
	got := verify(t, r)
	if got.Broken != 3 || got.OK() || got.Events != 9 {
		t.Errorf("report %+v", got)
	}
}

func TestReadingErrorsAreNotFindings(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		damage func(*audit.Source)
		want   error
	}{
		"chains":      {t.Context(), func(s *audit.Source) { s.Chains = fails[audit.Head](broken) }, broken},
		"links":       {t.Context(), func(s *audit.Source) { s.Links = fails[audit.Link](broken) }, broken},
		"checkpoints": {t.Context(), func(s *audit.Source) { s.Checkpoints = fails[audit.SignedCheckpoint](broken) }, broken},
		"cancelled":   {ended, func(*audit.Source) {}, context.Canceled},
	} {
		s := newRecord(t).source()
		c.damage(&s)
		if _, err := audit.Verify(c.ctx, s); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}

	mixed := newRecord(t)
	mixed.links = append(mixed.links, mixed.links[0])
	if _, err := audit.Verify(t.Context(), mixed.source()); err == nil {
		t.Error("events that do not come chain by chain were taken")
	}
}

func fails[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// Whatever the order of the damage, one altered place is reported as that place.
func TestTheFirstProblemIsTheFirstInItsChain(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	r.link("chn_a", 5).Hash[0] ^= 1
	r.link("chn_a", 2).Event.Actor = "x"
	expectFirst(t, verify(t, r), audit.FindingColumns, "chn_a", 2, "the column actor")
}
