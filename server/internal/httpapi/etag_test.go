package httpapi

import "testing"

func TestIfMatchIsAStrongComparison(t *testing.T) {
	t.Parallel()
	cases := map[string]int64{
		`"1"`:   1,
		`"42"`:  42,
		`W/"1"`: noVersion,
		`"x"`:   noVersion,
		`"01"`:  noVersion,
		`"+1"`:  noVersion,
		`""`:    noVersion,
		`1`:     noVersion,
	}
	for header, want := range cases {
		if got := versionOf(&header); got == nil || *got != want {
			t.Errorf("%s: got %v, want %d", header, got, want)
		}
	}
	anything := "*"
	if versionOf(&anything) != nil || versionOf(nil) != nil {
		t.Error("* and nothing must match any version")
	}
}

func TestIfNoneMatchIsAWeakComparison(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		`"a"`: false, `W/"a"`: false, `*`: false, `"b", "a"`: false, `"b"`: true, `a`: true, ``: true,
	} {
		if got := noneMatch(header, `"a"`); got != want {
			t.Errorf("%s: got %v, want %v", header, got, want)
		}
	}
}
