package config

import (
	"testing"
	"time"
)

// A duration that is accepted is one of whole seconds within its bounds, and is
// shown in a way that is read back as the same.
func FuzzDuration(f *testing.F) {
	for _, v := range []string{"90s", "15m", "24h", "1h30m", "0", "-15m", "+15m", "1.5h", "9223372036854775807ns", "1e3s", "15m0s", "900000ms", "15 m", "٣m"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		d := time.Duration(-1)
		if err := setDuration(&d, v, MinTokenLifetime, MaxTokenLifetime); err != nil {
			if d != -1 {
				t.Errorf("%q is refused and set to %v", v, d)
			}
			return
		}
		if d < MinTokenLifetime || d > MaxTokenLifetime || d%time.Second != 0 {
			t.Errorf("%q is %v", v, d)
		}
		var again time.Duration
		if err := setDuration(&again, showDuration(d), MinTokenLifetime, MaxTokenLifetime); err != nil || again != d {
			t.Errorf("%q is shown as %q, which is %v, %v", v, showDuration(d), again, err)
		}
	})
}
