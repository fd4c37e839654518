package operation

import (
	"slices"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/identity"
)

// contractIDs reads the operationIds of the embedded contract.
func contractIDs(t *testing.T) []string {
	t.Helper()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			ids = append(ids, op.OperationID)
		}
	}
	return ids
}

func TestTableAndContractAgree(t *testing.T) {
	t.Parallel()
	ids := contractIDs(t)
	rows, err := Index(ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(ids) {
		t.Errorf("%d rows for %d operations", len(rows), len(ids))
	}
}

func TestOnlySignInDiscoveryAndWhoamiNeedNoPermission(t *testing.T) {
	t.Parallel()
	free := []string{"whoami.get", "tokens.issue", "tokens.introspect", "tokens.revoke", "tokens.login",
		"metadata.get", "metadata.get_openid", "jwks.get", "contract.get"}
	for _, op := range Table() {
		if (op.Permission == "") != slices.Contains(free, op.ID) {
			t.Errorf("%s: permission %q", op.ID, op.Permission)
		}
	}
}

func TestIndexRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	good := Operation{"a.get", Bearer, identity.PermRolesRead, Read, Management}
	cases := []struct {
		name     string
		table    []Operation
		contract []string
		want     string
	}{
		{"an operation without a row", []Operation{good}, []string{"a.get", "b.get"}, "b.get has no row"},
		{"a row without an operation", []Operation{good}, nil, "a.get is not an operation of the contract"},
		{"two rows for one operation", []Operation{good, good}, []string{"a.get"}, "a.get has two rows"},
		{"no sign-in", []Operation{{ID: "a.get", Audit: Read}}, []string{"a.get"}, "how callers sign in"},
		{"no audit class", []Operation{{ID: "a.get", SignIn: Bearer}}, []string{"a.get"}, "how it is recorded"},
		{"no limit class", []Operation{{ID: "a.get", SignIn: Bearer, Audit: Read}}, []string{"a.get"}, "how many calls"},
		{"no limit", []Operation{{"a.get", Bearer, "", Read, Unlimited}}, []string{"a.get"}, "not at all"},
		{"a limit by account for nobody", []Operation{{"a.get", None, "", Read, Tokens}}, []string{"a.get"}, "by account without sign-in"},
		{"a change for everybody", []Operation{{"a.get", None, "", Change, Unlimited}}, []string{"a.get"}, "without sign-in"},
		{"an unknown permission", []Operation{{"a.get", Bearer, "x:y", Read, Management}}, []string{"a.get"}, "unknown permission x:y"},
		{"a permission nobody checks", []Operation{{"a.get", Client, identity.PermRolesRead, Read, Tokens}}, []string{"a.get"}, "cannot check"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := index(c.table, c.contract)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}
