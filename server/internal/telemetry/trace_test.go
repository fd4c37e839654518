package telemetry_test

import (
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/telemetry"
)

const (
	trace = "0af7651916cd43dd8448eb211c80319c"
	span  = "b7ad6b7169203331"
)

func TestATraceparentIsReadToTheLetter(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"00-" + trace + "-" + span + "-01",
		"00-" + trace + "-" + span + "-00",
		"00-" + trace + "-" + span + "-ff",
		"cc-" + trace + "-" + span + "-01",
		"cc-" + trace + "-" + span + "-01-what-the-future-will-be-like",
	} {
		if got := telemetry.TraceID(good); got != trace {
			t.Errorf("%s: %q", good, got)
		}
	}
	for _, bad := range []string{
		"", "00", trace,
		"ff-" + trace + "-" + span + "-01",
		"0x-" + trace + "-" + span + "-01",
		"00-" + trace + "-" + span + "-01-more",
		"cc-" + trace + "-" + span + "-01more",
		"00-" + strings.ToUpper(trace) + "-" + span + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01",
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01",
		"00-" + trace + "-" + span + "-0g",
		"00-" + trace + "-" + span + "-1",
		"00_" + trace + "-" + span + "-01",
		"00-" + trace + "_" + span + "-01",
		"00-" + trace + "-" + span + "_01",
		" 00-" + trace + "-" + span + "-01",
		"00-" + trace + "-" + span + "-01\n",
		"00-" + trace[:31] + "\"-" + span + "-01",
	} {
		if got := telemetry.TraceID(bad); got != "" {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// Whatever comes in, only 32 hexadecimal digits come out.
func FuzzTraceID(f *testing.F) {
	f.Add("00-" + trace + "-" + span + "-01")
	f.Add("cc-" + trace + "-" + span + "-01-x")
	f.Add("00-\"}\n")
	f.Fuzz(func(t *testing.T, s string) {
		if id := telemetry.TraceID(s); id != "" && (len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "") {
			t.Errorf("%q gives %q", s, id)
		}
	})
}
