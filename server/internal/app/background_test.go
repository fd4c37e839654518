package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// In a server as it is put together: each minute the heads are signed and the
// refusals counted, and the keys rotate by their schedule.
func TestWhatGoesOnBesideTheRequestsGoesOn(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load(config.Input{Environ: []string{
		"MARQUE_LISTEN=127.0.0.1:0", "MARQUE_OPERATIONS_LISTEN=127.0.0.1:0", "MARQUE_DATA_DIR=" + t.TempDir() + "/d", "MARQUE_KEYS_ROTATION_INTERVAL=24h",
	}, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	clk := testkit.Clock(t)
	a, err := New(t.Context(), loaded.Config, Deps{Clock: clk, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.release(context.WithoutCancel(t.Context())) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://localhost/oauth2/token", bytes.NewReader([]byte("grant_type=client_credentials&client_id=nobody&client_secret=x")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err := a.http.Test(req, -1); err != nil || resp.StatusCode != 401 {
		t.Fatal(resp, err)
	}
	count := func(typ audit.Type) (n int) {
		if err := a.data.Store.View(t.Context(), func(r *store.Reader) error {
			return r.AuditLinks(t.Context(), a.data.Store.AuditChain(), func(l audit.Link) error {
				if l.Event.Type == typ {
					n++
				}
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	checkpoints := func() (seq int64) {
		if err := a.data.Store.Maintain(t.Context(), func(m *store.Maintenance) error {
			c, err := m.LastCheckpoint(t.Context())
			seq = c.Seq
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return seq
	}
	rotated := count(audit.SigningKeyRotated)
	for i := range 400 {
		clk.Advance(time.Minute)
		<-clock.System().After(2 * time.Millisecond)
		if i > 30 {
			clk.Advance(time.Hour)
		}
		if checkpoints() > 0 && count(audit.RefusalsCounted) > 0 && count(audit.SigningKeyRotated) > rotated {
			return
		}
	}
	t.Errorf("checkpoints %d, counted %d, rotated %d", checkpoints(), count(audit.RefusalsCounted), count(audit.SigningKeyRotated)-rotated)
}
