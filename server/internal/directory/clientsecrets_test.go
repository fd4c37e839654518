package directory_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

func (w *world) secret(accountID string, expiresAt time.Time) *directory.IssuedSecret {
	w.t.Helper()
	w.clock.Advance(time.Millisecond) // ids of one millisecond have no order
	s, err := w.CreateClientSecret(w.ctx, w.admin, w.meta, accountID, directory.NewClientSecret{ExpiresAt: expiresAt})
	w.must(err)
	return s
}

func (w *world) secrets(accountID string) []identity.ClientSecret {
	w.t.Helper()
	p, err := w.ListClientSecrets(w.ctx, w.admin, accountID, directory.PageRequest{Size: 200})
	w.must(err)
	return p.Items
}

// ends tells when each secret of the account ends, from now, oldest first.
func (w *world) ends(accountID string) []string {
	w.t.Helper()
	var out []string
	for _, c := range w.secrets(accountID) {
		if c.ExpiresAt.IsZero() {
			out = append(out, "never")
		} else {
			out = append(out, c.ExpiresAt.Sub(w.clock.Now()).String())
		}
	}
	return out
}

func TestClientSecretIsShownOnceAndStoredAsItsMAC(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		issued := w.secret(a.ID, w.clock.Now().Add(time.Hour))
		if err := identity.CheckClientSecret(issued.Secret.Reveal()); err != nil {
			t.Fatal(err)
		}
		read, err := w.GetClientSecret(w.ctx, w.admin, a.ID, issued.ClientSecret.ID)
		w.must(err)
		if fmt.Sprint(*read) != fmt.Sprint(issued.ClientSecret) || read.Hint != identity.Hint(issued.Secret) || read.MAC == [32]byte{} {
			t.Errorf("issued %+v\nread %+v", issued.ClientSecret, read)
		}
		other := w.account("b")
		_, err = w.GetClientSecret(w.ctx, w.admin, other.ID, issued.ClientSecret.ID)
		w.refused(err, fault.CodeNotFound)
		w.refused(w.DeleteClientSecret(w.ctx, w.admin, w.meta, other.ID, issued.ClientSecret.ID), fault.CodeNotFound)
		_, err = w.CreateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.NewClientSecret{ExpiresAt: w.clock.Now()})
		if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != "/expires_at" {
			t.Errorf("end in the past: %+v", f)
		}
		w.must(w.DeleteClientSecret(w.ctx, w.admin, w.meta, a.ID, issued.ClientSecret.ID))
		w.refused(w.DeleteClientSecret(w.ctx, w.admin, w.meta, a.ID, issued.ClientSecret.ID), fault.CodeNotFound)
		p, err := w.store.Principal(w.ctx, a.ID)
		w.must(err)
		if _, there := p.Credential(issued.ClientSecret.ID); there {
			t.Error("a deleted secret still opens")
		}
	})
}

func TestAtMostTenSecretsLiveAtOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		errs := make([]error, 16)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() {
				_, errs[i] = w.CreateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.NewClientSecret{ExpiresAt: w.clock.Now().Add(time.Hour)})
			})
		}
		group.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				w.refused(err, fault.CodeLimitReached)
			}
		}
		if made != 10 {
			t.Errorf("%d secrets were made", made)
		}
		_, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{})
		w.refused(err, fault.CodeLimitReached)
		none := time.Duration(0)
		_, err = w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{Overlap: &none})
		w.must(err)
		if n := len(w.secrets(a.ID)); n != 11 {
			t.Errorf("%d secrets, ended ones included", n)
		}
		w.secret(a.ID, time.Time{})
	})
}

func TestRotationEndsOldSecretsAfterTheOverlap(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		hour, none := time.Hour, time.Duration(0)
		for name, c := range map[string]struct {
			rotate directory.Rotation
			named  []int // of the three old secrets
			want   []string
		}{
			"by default after a day":         {directory.Rotation{}, nil, []string{"24h0m0s", "2h0m0s", "24h0m0s", "never"}},
			"after the overlap asked for":    {directory.Rotation{Overlap: &hour}, nil, []string{"1h0m0s", "1h0m0s", "1h0m0s", "never"}},
			"at once":                        {directory.Rotation{Overlap: &none}, nil, []string{"0s", "0s", "0s", "never"}},
			"only those that are named":      {directory.Rotation{Overlap: &hour}, []int{2}, []string{"never", "2h0m0s", "1h0m0s", "never"}},
			"named twice":                    {directory.Rotation{Overlap: &hour}, []int{2, 2}, []string{"never", "2h0m0s", "1h0m0s", "never"}},
			"with an end of the new one too": {directory.Rotation{Overlap: &none, ExpiresAt: w.clock.Now().Add(1000 * time.Hour)}, nil, []string{"0s", "0s", "0s", ""}},
		} {
			a := w.account(fmt.Sprintf("a-%d", len(w.events())))
			w.secret(a.ID, time.Time{})
			w.secret(a.ID, w.clock.Now().Add(2*time.Hour+3*time.Millisecond))
			w.secret(a.ID, time.Time{})
			old := w.secrets(a.ID)
			for _, i := range c.named {
				c.rotate.SecretIDs = append(c.rotate.SecretIDs, old[i].ID)
			}
			w.clock.Advance(time.Millisecond)
			issued, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, c.rotate)
			w.must(err)
			got := w.ends(a.ID)
			if c.want[3] == "" {
				c.want[3] = c.rotate.ExpiresAt.Sub(w.clock.Now()).String()
			}
			if !slices.Equal(got, c.want) || w.secrets(a.ID)[3].ID != issued.ClientSecret.ID {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}

func TestRotationOutlivesTheOldSecret(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		old := w.secret(a.ID, time.Time{})
		hour := time.Hour
		w.clock.Advance(time.Millisecond)
		fresh, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{Overlap: &hour})
		w.must(err)
		for _, c := range []struct {
			after    time.Duration
			old, new bool
		}{{0, true, true}, {time.Hour - time.Microsecond, true, true}, {time.Microsecond, false, true}} {
			w.clock.Advance(c.after)
			p, err := w.store.Principal(w.ctx, a.ID)
			w.must(err)
			now := w.clock.Now()
			first, _ := p.Credential(old.ClientSecret.ID)
			second, _ := p.Credential(fresh.ClientSecret.ID)
			if first.ID == "" || first.Live(now) != c.old || second.ID == "" || second.Live(now) != c.new {
				t.Errorf("%v later: wrong secrets live", c.after)
			}
		}
		// What has ended cannot be named again, and a later rotation leaves its end alone.
		_, err = w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{SecretIDs: []string{fresh.ClientSecret.ID, old.ClientSecret.ID, "x"}})
		f := fault.From(err)
		if len(f.Fields) != 2 || f.Fields[0].Pointer != "/client_secrets/1" || f.Fields[1].Pointer != "/client_secrets/2" {
			t.Errorf("%+v", f)
		}
		for _, overlap := range []time.Duration{-1, 31 * 24 * time.Hour} {
			_, err = w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{Overlap: &overlap})
			if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != "/overlap" {
				t.Errorf("overlap %v: %+v", overlap, f)
			}
		}
	})
}

func TestAnAccountThatRotatesForeverKeepsTwentyOldSecrets(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		none := time.Duration(0)
		var last *directory.IssuedSecret
		for range 26 {
			w.clock.Advance(time.Millisecond)
			var err error
			last, err = w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{Overlap: &none})
			w.must(err)
		}
		left := w.secrets(a.ID)
		if len(left) != 21 || left[20].ID != last.ClientSecret.ID || !left[20].ExpiresAt.IsZero() {
			t.Errorf("%d secrets are left", len(left))
		}
	})
}
