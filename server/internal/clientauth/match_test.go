package clientauth

import (
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestMatchFindsASecretInEachPlace(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, slots - 1, slots, slots + 5} {
		secrets := make([]identity.ClientSecret, n)
		stored := func(i int) *[32]byte { return &secrets[i].MAC }
		for i := range secrets {
			secrets[i].MAC = [32]byte{byte(i + 1)}
		}
		for i := range secrets {
			if got := match(n, stored, &secrets[i].MAC); got != i {
				t.Errorf("%d secrets: found %d, want %d", n, got, i)
			}
		}
		if got := match(n, stored, &[32]byte{0xff}); got != -1 {
			t.Errorf("%d secrets: a MAC that none has is found at %d", n, got)
		}
		for at := range 8 * 32 {
			near := [32]byte{1}
			near[at/8] ^= 1 << (at % 8)
			if n == 1 && match(n, stored, &near) != -1 {
				t.Errorf("a MAC that differs in bit %d alone is found", at)
			}
		}
		// What empty places are compared with is no secret.
		if got := match(n, stored, new([32]byte)); got != -1 {
			t.Errorf("%d secrets: nothing is found at %d", n, got)
		}
	}
}
