package directory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marque-id/marque/server/internal/fault"
)

// use is one way in which something is used.
type use struct {
	by    string // by whom, for a reader
	users fault.InUse
}

// maxUsersNamed is how many users a refusal names.
const maxUsersNamed = 20

// inUse refuses to take away what others rest on: it counts them all, names the
// first of them and says what can be done instead. It is nil when nothing does.
func inUse(what, instead string, uses ...use) error {
	var all fault.InUse
	var by []string
	for _, u := range uses {
		if u.users.Count == 0 {
			continue
		}
		all.Count += u.users.Count
		all.First = append(all.First, u.users.First...)
		by = append(by, fmt.Sprintf("%d %s", u.users.Count, u.by))
	}
	if all.Count == 0 {
		return nil
	}
	slices.SortFunc(all.First, func(a, b fault.User) int { return strings.Compare(a.ID, b.ID) })
	all.First = all.First[:min(len(all.First), maxUsersNamed)]
	ids := make([]string, len(all.First))
	for i := range all.First {
		ids[i] = all.First[i].ID
	}
	text := strings.Join(ids, ", ")
	if all.Count > len(ids) {
		text += ", …"
	}
	return fault.Used(all, "%s is used by %s: %s; %s", what, strings.Join(by, " and "), text, instead)
}
