package directory

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMissingRightsCountUntilWhenTheyAreHeld(t *testing.T) {
	t.Parallel()
	day, week := noon.Add(24*time.Hour), noon.Add(7*24*time.Hour)
	read, write := right{"urn:a", "read"}, right{"urn:a", "write"}
	for name, c := range map[string]struct {
		held, wanted rights
		missing      []right
	}{
		"nothing wanted":         {rights{}, rights{}, nil},
		"held for good":          {rights{read: {}}, rights{read: {}}, nil},
		"wanted for a while":     {rights{read: {}}, rights{read: day}, nil},
		"held as long":           {rights{read: day}, rights{read: day}, nil},
		"held longer":            {rights{read: week}, rights{read: day}, nil},
		"held for less":          {rights{read: day}, rights{read: week}, []right{read}},
		"wanted for good":        {rights{read: week}, rights{read: {}}, []right{read}},
		"not held":               {rights{read: {}}, rights{write: day}, []right{write}},
		"at another audience":    {rights{right{"urn:b", "read"}: {}}, rights{read: {}}, []right{read}},
		"sorted":                 {rights{}, rights{write: {}, read: {}}, []right{read, write}},
		"more held than wanted":  {rights{read: {}, write: {}}, rights{write: {}}, nil},
		"nothing held":           {nil, rights{read: {}}, []right{read}},
		"one of two not as long": {rights{read: {}, write: day}, rights{read: week, write: week}, []right{write}},
	} {
		got := c.held.missing(c.wanted)
		if diff := cmp.Diff(c.missing, got, cmp.AllowUnexported(right{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTheLongerOfTwoSourcesOfARightCounts(t *testing.T) {
	t.Parallel()
	r := rights{}
	for _, until := range []time.Time{noon, noon.Add(time.Hour), noon.Add(time.Minute)} {
		r.add("urn:a", "read", until)
	}
	if got := r[right{"urn:a", "read"}]; !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("held until %v", got)
	}
	r.add("urn:a", "read", time.Time{})
	r.add("urn:a", "read", noon)
	if got := r[right{"urn:a", "read"}]; !got.IsZero() {
		t.Errorf("held until %v", got)
	}
}
