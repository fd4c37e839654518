package telemetry

import (
	"testing"
	"time"
)

func TestTimesOfRequestsAreThoseOfRecords(t *testing.T) {
	t.Parallel()
	var hand secondHand
	at := time.Date(2026, 12, 31, 23, 59, 58, 0, time.FixedZone("", 3600))
	for _, step := range []time.Duration{0, 1, 999_999, time.Millisecond, 980 * time.Millisecond, 19 * time.Millisecond, time.Second, time.Hour, -2 * time.Hour, 24 * time.Hour} {
		at = at.Add(step)
		for _, layout := range []string{layoutJSON, layoutText} {
			hand := &hand
			if layout == layoutText {
				hand = new(secondHand)
			}
			if got, want := string(hand.append(nil, at, layout)), at.UTC().Format(layout); got != want {
				t.Errorf("%v is written %s, want %s", at, got, want)
			}
		}
	}
}
