package audit_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
)

// The list is closed: each declared type is listed once and has its sentence.
func TestEveryTypeIsListedAndDocumented(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("type.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[audit.Type]bool{}
	for _, m := range regexp.MustCompile(`Type = "([^"]+)"`).FindAllSubmatch(source, -1) {
		declared[audit.Type(m[1])] = true
	}
	shape := regexp.MustCompile(`^[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*$`)
	listed := map[audit.Type]bool{}
	for _, typ := range audit.Types() {
		if listed[typ] || !declared[typ] || !typ.Known() || !shape.MatchString(string(typ)) {
			t.Errorf("%s: listed twice, not declared, without a sentence, or oddly spelled", typ)
		}
		listed[typ] = true
	}
	if len(listed) != len(declared) || len(declared) == 0 {
		t.Errorf("%d types are declared, %d listed", len(declared), len(listed))
	}
	if audit.Type("token.isued").Known() {
		t.Error("an unlisted type is known")
	}
}

func TestFilterSelects(t *testing.T) {
	t.Parallel()
	e := full()
	for name, c := range map[string]struct {
		filter audit.Filter
		want   bool
	}{
		"everything":           {audit.Filter{}, true},
		"all members":          {audit.Filter{Chain: chainID, Type: e.Type, Outcome: e.Outcome, AccountID: e.AccountID, Actor: e.Actor, From: noon, To: noon.Add(1)}, true},
		"other chain":          {audit.Filter{Chain: "chn_x"}, false},
		"other type":           {audit.Filter{Type: audit.TokenRefused}, false},
		"other outcome":        {audit.Filter{Outcome: audit.Refused}, false},
		"other account":        {audit.Filter{AccountID: "sa_x"}, false},
		"other actor":          {audit.Filter{Actor: "sa_x"}, false},
		"from is included":     {audit.Filter{From: noon}, true},
		"later only":           {audit.Filter{From: noon.Add(time.Microsecond)}, false},
		"to is not included":   {audit.Filter{To: noon}, false},
		"up to just after now": {audit.Filter{To: noon.Add(time.Microsecond)}, true},
	} {
		if got := c.filter.Matches(chainID, &e); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
