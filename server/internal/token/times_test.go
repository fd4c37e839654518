package token

import (
	"testing"
	"time"
)

// The whole table of clocks: the token was dated by a clock that differs from
// ours, and lives 15 minutes from then.
func TestTimesAreJudgedExactly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for offset := -3600; offset <= 3600; offset++ {
		iat := now.Unix() + int64(offset)
		c := Claims{IssuedAt: iat, NotBefore: iat, ExpiresAt: iat + 900}
		want := good
		switch {
		case offset > 10:
			want = reasonAhead
		case offset <= -900:
			want = reasonExpired
		}
		if got := judgeTimes(&c, now); got != want {
			t.Errorf("dated %+d s: %q, want %q", offset, got, want)
		}
	}
}

func TestTimesThatDoNotFitTogetherAreRefused(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := now.Unix()
	tests := map[string]struct {
		claims Claims
		want   reason
	}{
		"exp before iat":      {Claims{IssuedAt: at + 5, NotBefore: at + 5, ExpiresAt: at + 4}, reasonLifetime},
		"exp at iat":          {Claims{IssuedAt: at, NotBefore: at, ExpiresAt: at}, reasonLifetime},
		"nbf before iat":      {Claims{IssuedAt: at, NotBefore: at - 1, ExpiresAt: at + 60}, reasonLifetime},
		"longer than a day":   {Claims{IssuedAt: at, NotBefore: at, ExpiresAt: at + 86401}, reasonLifetime},
		"a day":               {Claims{IssuedAt: at, NotBefore: at, ExpiresAt: at + 86400}, good},
		"nbf ahead":           {Claims{IssuedAt: at, NotBefore: at + 11, ExpiresAt: at + 60}, reasonAhead},
		"last second":         {Claims{IssuedAt: at - 59, NotBefore: at - 59, ExpiresAt: at + 1}, good},
		"no grace behind exp": {Claims{IssuedAt: at - 60, NotBefore: at - 60, ExpiresAt: at}, reasonExpired},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := judgeTimes(&tt.claims, now); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
