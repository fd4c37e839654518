package grant

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/testkit"
)

func TestFailedSignInsAreAnsweredOnABeat(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := map[string]struct {
		recording time.Duration // that another one took before; zero: none
		took      time.Duration // until it was refused
		record    bool
		want      time.Duration // until it is answered
	}{
		"recorded":                       {took: 2 * ms, record: true, want: 5 * ms},
		"counted":                        {took: time.Microsecond, want: 5 * ms},
		"counted, like the recorded one": {recording: 12 * ms, took: time.Microsecond, want: 15 * ms},
		"recorded slowly":                {took: 12 * ms, record: true, want: 15 * ms},
		"on the beat":                    {took: 10 * ms, record: true, want: 10 * ms},
		"never held back for long":       {recording: time.Hour, took: ms, want: ms + maxPace},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clk := testkit.Clock(t)
			p := pace{clock: clk}
			if tt.recording != 0 {
				p.recent[0].Store(int64(tt.recording))
				p.count.Store(1)
			}
			began := clk.Now()
			clk.Advance(tt.took)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if tt.record {
					p.recorded(t.Context(), began)
				} else {
					p.counted(t.Context(), began)
				}
			}()
			if tt.want > tt.took {
				if err := clk.BlockUntilContext(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				clk.Advance(tt.want - tt.took - 1)
				select {
				case <-done:
					t.Error("answered early")
				default:
				}
				clk.Advance(1)
			}
			<-done
		})
	}
}

func TestPaceDoesNotOutstayTheCaller(t *testing.T) {
	t.Parallel()
	clk := testkit.Clock(t)
	p := pace{clock: clk}
	began := clk.Now()
	clk.Advance(time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.counted(ctx, began)
}
