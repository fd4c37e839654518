package limit_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/limit"
)

// Other tests run beside this one and make the process late too, so only that
// much is asked of the figure.
func TestAProcessWithTooMuchToDoIsLate(t *testing.T) {
	l := limit.NewLateness()
	var wait sync.WaitGroup
	for range 50 * runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			x := 1
			for range 200 {
				for i := range 20_000 {
					x = x*31 + i
				}
				runtime.Gosched()
			}
			runtime.KeepAlive(x)
		})
	}
	wait.Wait()
	if late := l.Since(); late < 100*time.Microsecond {
		t.Errorf("%v late with fifty things to do for each processor", late)
	}
	if late := l.Since(); late > time.Second {
		t.Errorf("%v late since a moment ago", late)
	}
}
