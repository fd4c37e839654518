package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/audit"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	noon        = time.Date(2026, time.March, 4, 12, 0, 0, 123456000, time.UTC)
	compareAddr = cmpopts.EquateComparable(netip.Addr{})
)

const chainID = "chn_01kjwvq7k0e6r3x5z9m2t4b8cd"

// full has every member set.
func full() audit.Event {
	return audit.Event{
		ID: "evt_01kjwvq7k0000000000000000f", At: noon, Type: audit.TokenIssued, Outcome: audit.Success,
		Reason: "none", Actor: "sa_01kjwvq7k0000000000000000a", AccountID: "sa_01kjwvq7k0000000000000000a",
		Subject: "role_01kjwvq7k0000000000000000b", CredentialID: "sec_01kjwvq7k0000000000000000c",
		Audience: "https://invoices.example/api", Scope: "invoices:read invoices:write",
		TokenID: "tok_01kjwvq7k0000000000000000d", Address: netip.MustParseAddr("192.0.2.7"),
		RequestID: "req_01kjwvq7k0000000000000000e", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		Count: 3, Details: map[string]string{"gen": "2", "a": "1"},
	}
}

// goldenEvents are the events of the committed vectors, in the order of the file.
func goldenEvents() []audit.Event {
	least := audit.Event{ID: "evt_1", At: noon, Type: audit.AccountCreated, Outcome: audit.Success}
	with := func(change func(*audit.Event)) audit.Event {
		e := least
		change(&e)
		return e
	}
	return []audit.Event{
		full(),
		least,
		with(func(e *audit.Event) { e.Outcome, e.Reason = audit.Refused, "invalid_client" }),
		with(func(e *audit.Event) { e.At = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC) }),
		with(func(e *audit.Event) { e.At = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC) }),
		with(func(e *audit.Event) { e.At = noon.In(time.FixedZone("east", 7200)).Add(999 * time.Nanosecond) }),
		with(func(e *audit.Event) { e.Address = netip.MustParseAddr("2001:db8::1%eth0") }),
		with(func(e *audit.Event) { e.Address = netip.MustParseAddr("::ffff:192.0.2.1") }),
		with(func(e *audit.Event) { e.Scope = `quote " slash \ solidus / tag <b> & é 漢 😀 ` + "\u2028" }),
		with(func(e *audit.Event) { e.Reason = "nul \x00 tab \t line \n del \x7f c1 \u0085 bad \xff\xc3 end" }),
		with(func(e *audit.Event) { e.Details = map[string]string{"z": "1", "a": `"`, "é": "2", "empty": ""} }),
		with(func(e *audit.Event) { e.Details = map[string]string{"empty": ""} }),
		with(func(e *audit.Event) { e.Count = 1 << 62 }),
	}
}

// The vectors hold the format still: an old record must verify for ever.
func TestCanonicalBytesAndHashesAreTheCommittedOnes(t *testing.T) {
	t.Parallel()
	head := audit.Head{Chain: chainID}
	var got bytes.Buffer
	for _, e := range goldenEvents() {
		l, err := head.Next(e)
		if err != nil {
			t.Fatal(err)
		}
		head = l.Head()
		fmt.Fprintf(&got, "%s\n%s\n", l.Canonical, l.Hash)
	}
	compareGolden(t, "events.golden", got.Bytes())
}

func TestCheckpointBytesAndHashAreTheCommittedOnes(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	for _, c := range []audit.Checkpoint{
		{ID: "chk_1", Seq: 1, At: noon},
		{ID: "chk_2", Seq: 2, At: noon, Prev: audit.Hash{1}, Heads: []audit.Head{
			{Chain: "chn_a", Seq: 7, Hash: audit.Hash{2}}, {Chain: "chn_b", Seq: 1, Hash: audit.Hash{3}},
		}},
	} {
		fmt.Fprintf(&got, "%s\n%s\n", c.AppendCanonical(nil), c.Hash())
		again, err := audit.ParseCheckpoint(c.AppendCanonical(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Errorf("a checkpoint reads back differently (-want +got):\n%s", d)
		}
	}
	compareGolden(t, "checkpoints.golden", got.Bytes())
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestAnEventReadsBackAsItsNormalizedSelf(t *testing.T) {
	t.Parallel()
	for i, e := range goldenEvents() {
		l, err := audit.Head{Chain: chainID, Seq: int64(i)}.Next(e)
		if err != nil {
			t.Fatal(err)
		}
		chain, seq, again, err := audit.Decode(l.Canonical)
		if err != nil {
			t.Fatalf("event %d: %v\n%s", i, err, l.Canonical)
		}
		if chain != chainID || seq != l.Seq {
			t.Errorf("event %d: read back as %s %d", i, chain, seq)
		}
		if d := cmp.Diff(l.Event, again, compareAddr); d != "" {
			t.Errorf("event %d (-want +got):\n%s", i, d)
		}
		if d := cmp.Diff(again, again.Normalize(), compareAddr); d != "" {
			t.Errorf("event %d: normalizing twice changes it (-once +twice):\n%s", i, d)
		}
	}
}

// The canonical bytes are JSON, so that an auditor needs no tool of ours.
func TestCanonicalBytesAreJSONWithTheSameValues(t *testing.T) {
	t.Parallel()
	e := full()
	e.Scope = `a " b \ c ` + "\t é"
	var got struct {
		Chain, ID, Type, Scope string
		Seq, Count             int64
		At                     time.Time
		Details                map[string]string
	}
	if err := json.Unmarshal(audit.AppendCanonical(nil, chainID, 9, &e), &got); err != nil {
		t.Fatal(err)
	}
	if got.Chain != chainID || got.Seq != 9 || got.ID != e.ID || got.Type != "token.issued" ||
		got.Scope != e.Scope || got.Count != 3 || !got.At.Equal(e.At) || !cmp.Equal(got.Details, e.Details) {
		t.Errorf("encoding/json reads %+v", got)
	}
}

func TestOtherSpellingsOfAnEventAreRefused(t *testing.T) {
	t.Parallel()
	e := full()
	e.Scope = `tab` + "\t" + `quote"`
	good := string(audit.AppendCanonical(nil, chainID, 9, &e))
	e.Scope = "x"
	if _, _, _, err := audit.Decode(audit.AppendCanonical(nil, chainID, 9, &e)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, text := range map[string]string{
		"control character":     good,
		"empty":                 "",
		"newer version":         strings.Replace(good, `"v":1`, `"v":2`, 1),
		"white space":           strings.Replace(good, `,"seq"`, `, "seq"`, 1),
		"trailing bytes":        good + " ",
		"trailing null":         good + "\x00",
		"no end":                good[:len(good)-1],
		"leading zero":          strings.Replace(good, `"seq":9`, `"seq":09`, 1),
		"plus sign":             strings.Replace(good, `"seq":9`, `"seq":+9`, 1),
		"place zero":            strings.Replace(good, `"seq":9`, `"seq":0`, 1),
		"negative place":        strings.Replace(good, `"seq":9`, `"seq":-9`, 1),
		"place too large":       strings.Replace(good, `"seq":9`, `"seq":9223372036854775808`, 1),
		"count zero":            strings.Replace(good, `"count":3`, `"count":0`, 1),
		"empty member":          strings.Replace(good, `"reason":"none"`, `"reason":""`, 1),
		"unknown member":        strings.Replace(good, `,"count"`, `,"extra":1,"count"`, 1),
		"member twice":          strings.Replace(good, `,"count":3`, `,"count":3,"count":3`, 1),
		"members swapped":       strings.Replace(good, `"outcome":"success","reason":"none"`, `"reason":"none","outcome":"success"`, 1),
		"escape not needed":     strings.Replace(good, "none", `n\u006fne`, 1),
		"solidus escaped":       strings.Replace(good, "https://", `https:\/\/`, 1),
		"surrogate escape":      strings.Replace(good, "none", `\ud83d\ude00`, 1),
		"bad UTF-8":             strings.Replace(good, "none", "n\xffne", 1),
		"bare control":          strings.Replace(good, "none", "n\nne", 1),
		"milliseconds":          strings.Replace(good, "123456Z", "123Z", 1),
		"offset":                strings.Replace(good, "123456Z", "123456+00:00", 1),
		"no such day":           strings.Replace(good, "-03-04T", "-02-30T", 1),
		"unknown outcome":       strings.Replace(good, `"success"`, `"maybe"`, 1),
		"type without dot":      strings.Replace(good, `"token.issued"`, `"token"`, 1),
		"type with capitals":    strings.Replace(good, `"token.issued"`, `"Token.issued"`, 1),
		"address spelled long":  strings.Replace(good, `"192.0.2.7"`, `"2001:0db8::1"`, 1),
		"address mapped":        strings.Replace(good, `"192.0.2.7"`, `"::ffff:192.0.2.7"`, 1),
		"address with zone":     strings.Replace(good, `"192.0.2.7"`, `"fe80::1%eth0"`, 1),
		"no address":            strings.Replace(good, `"192.0.2.7"`, `"localhost"`, 1),
		"details not sorted":    strings.Replace(good, `{"a":"1","gen":"2"}`, `{"gen":"2","a":"1"}`, 1),
		"details twice":         strings.Replace(good, `{"a":"1","gen":"2"}`, `{"a":"1","a":"1"}`, 1),
		"details empty":         strings.Replace(good, `{"a":"1","gen":"2"}`, `{}`, 1),
		"details nested":        strings.Replace(good, `{"a":"1","gen":"2"}`, `{"a":{}}`, 1),
		"details trailing":      strings.Replace(good, `{"a":"1","gen":"2"}`, `{"a":"1",}`, 1),
		"details without value": strings.Replace(good, `{"a":"1","gen":"2"}`, `{"a":""}`, 1),
	} {
		if name != "control character" {
			text = strings.Replace(text, `tab\u0009quote\"`, "x", 1)
		}
		if _, _, _, err := audit.Decode([]byte(text)); err == nil {
			t.Errorf("%s: accepted %s", name, text)
		}
	}
}

func TestOtherSpellingsOfACheckpointAreRefused(t *testing.T) {
	t.Parallel()
	c := audit.Checkpoint{ID: "chk_2", Seq: 2, At: noon, Heads: []audit.Head{{Chain: "chn_a", Seq: 7}, {Chain: "chn_b", Seq: 1}}}
	good := string(c.AppendCanonical(nil))
	zeros := strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"newer version":  strings.Replace(good, `"v":1`, `"v":2`, 1),
		"white space":    good + "\n",
		"not sorted":     strings.Replace(good, "chn_a", "chn_c", 1),
		"chain twice":    strings.Replace(good, "chn_a", "chn_b", 1),
		"hash short":     strings.Replace(good, zeros, zeros[2:], 1),
		"hash long":      strings.Replace(good, zeros, zeros+"00", 1),
		"hash capitals":  strings.Replace(good, zeros, "AA"+zeros[2:], 1),
		"trailing comma": strings.Replace(good, "}]", "},]", 1),
		"no heads":       strings.Replace(good, `,"heads"`, `,"feet"`, 1),
		"empty":          "",
	} {
		if _, err := audit.ParseCheckpoint([]byte(text)); err == nil {
			t.Errorf("%s: accepted %s", name, text)
		}
	}
}

func TestEventsWithoutMeaningAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*audit.Event){
		"no type":                func(e *audit.Event) { e.Type = "" },
		"unlisted type":          func(e *audit.Event) { e.Type = "token.isued" },
		"no outcome":             func(e *audit.Event) { e.Outcome = "" },
		"refusal without reason": func(e *audit.Event) { e.Outcome, e.Reason = audit.Refused, "" },
		"negative count":         func(e *audit.Event) { e.Count = -1 },
		"year zero":              func(e *audit.Event) { e.At = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 10000":             func(e *audit.Event) { e.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		e := full()
		change(&e)
		if _, err := (audit.Head{Chain: chainID}).Next(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	head := audit.Head{Chain: chainID}
	for _, e := range goldenEvents() {
		l, err := head.Next(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(l.Canonical)
		head = l.Head()
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, seq, e, err := audit.Decode(text)
		if err != nil {
			return
		}
		if again := audit.AppendCanonical(nil, chain, seq, &e); !bytes.Equal(again, text) {
			t.Errorf("accepted %q, which is written %q", text, again)
		}
		if !json.Valid(text) {
			t.Errorf("accepted %q, which is not JSON", text)
		}
		if normal := e.Normalize(); !cmp.Equal(normal, e, compareAddr) {
			t.Errorf("accepted %q, which is not normalized", text)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	c := audit.Checkpoint{ID: "chk_2", Seq: 2, At: noon, Heads: []audit.Head{{Chain: "chn_a", Seq: 7}, {Chain: "chn_b", Seq: 1}}}
	f.Add(c.AppendCanonical(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := audit.ParseCheckpoint(text)
		if err != nil {
			return
		}
		if again := c.AppendCanonical(nil); !bytes.Equal(again, text) {
			t.Errorf("accepted %q, which is written %q", text, again)
		}
	})
}

// Encoding and hashing happen once for every token: under 2 µs.
func BenchmarkNext(b *testing.B) {
	e := full()
	head := audit.Head{Chain: chainID}
	b.ReportAllocs()
	for b.Loop() {
		l, err := head.Next(e)
		if err != nil {
			b.Fatal(err)
		}
		head = l.Head()
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	e := full()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = audit.AppendCanonical(buf[:0], chainID, 9, &e)
	}
}
