package store

import (
	"strconv"
	"testing"
	"time"
)

func TestAUseIsNotedOnceInEachGrainAndNotAllAtOnce(t *testing.T) {
	t.Parallel()
	n := newNoted(100)
	start := time.Date(2026, 11, 2, 15, 0, 0, 0, time.UTC)
	const accounts, seconds = 50, 3600
	turns := map[int]int{} // second within the grain → accounts that are noted anew
	for a := range accounts {
		last := -1
		for at := range seconds {
			if n.lately("sa_"+strconv.Itoa(a), "sec_1", start.Add(time.Duration(at)*time.Second), rotationGrain) {
				continue
			}
			if last >= 0 {
				turns[at%300]++
			}
			if last > 0 && at-last != 300 {
				t.Errorf("account %d is noted %d s after it was", a, at-last)
			}
			last = at
		}
		if last < seconds-300 {
			t.Errorf("account %d is not noted in the last five minutes", a)
		}
	}
	for second, n := range turns {
		if n > accounts {
			t.Errorf("in second %d of five minutes %d uses are noted", second, n)
		}
	}
}

func TestAnotherUseOrAnotherHourIsNoted(t *testing.T) {
	t.Parallel()
	n := newNoted(100)
	for _, u := range []struct {
		account, by, what string
		hour              int64
	}{{"a", "b", "c", 1}, {"a", "b", "c", 2}, {"a", "b", "d", 1}, {"a", "d", "c", 1}, {"d", "b", "c", 1}, {"ab", "", "c", 1}} {
		if n.again(u.account, u.by, u.what, u.hour) {
			t.Errorf("%v counts as noted", u)
		}
		if !n.again(u.account, u.by, u.what, u.hour) {
			t.Errorf("%v is noted twice", u)
		}
	}
}
