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
		// What empty places are compared with is no secret.
		if got := match(n, stored, new([32]byte)); got != -1 {
			t.Errorf("%d secrets: nothing is found at %d", n, got)
		}
	}
}

func TestMatchLooksAtEachBit(t *testing.T) {
	t.Parallel()
	secret := [32]byte{1, 31: 255}
	for bit := range 8 * len(secret) {
		near := secret
		near[bit/8] ^= 1 << (bit % 8)
		if match(1, func(int) *[32]byte { return &secret }, &near) != -1 {
			t.Errorf("a MAC that differs in bit %d alone is found", bit)
		}
	}
}
