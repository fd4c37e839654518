package httpapi

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oapi-codegen/nullable"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
)

func to[T any](v T) *T { return &v }

func TestServiceAccountGoesOut(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 11, 23, 12, 0, 0, 1000, time.FixedZone("", 3600))
	cases := []struct {
		name string
		in   identity.ServiceAccount
		want api.ServiceAccount
	}{
		{"what has no value is absent, what is a list or an object never null",
			identity.ServiceAccount{ID: "sa_1", Status: identity.StatusDisabled, CreatedAt: when, UpdatedAt: when},
			api.ServiceAccount{ID: "sa_1", Status: "disabled", Labels: api.Labels{}, CreatedAt: when.UTC(), UpdatedAt: when.UTC()},
		},
		{"everything",
			identity.ServiceAccount{
				ID: "sa_1", Name: "n", DisplayName: "d", Description: "e", Kind: "agent", Owner: "o",
				Labels: map[string]string{"k": "v"}, Status: identity.StatusActive, ExpiresAt: when, TokenLifetime: 90 * time.Second,
				TokenRateLimit: 120, DefaultResourceServer: "rs_1", AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				AllowedCredentials: []identity.CredentialKind{identity.KindAPIKey, identity.KindClientSecret},
				Gen:                7, Version: 3, CreatedAt: when, UpdatedAt: when, LastUsedAt: when,
			},
			api.ServiceAccount{
				ID: "sa_1", Name: "n", DisplayName: "d", Description: "e", Kind: "agent", Owner: "o",
				Labels: api.Labels{"k": "v"}, Status: "active", ExpiresAt: to(when.UTC()), TokenLifetime: to(int32(90)),
				TokenRateLimit: to(int32(120)), DefaultResourceServer: to("rs_1"), AllowedNetworks: &[]string{"192.0.2.0/24"},
				AllowedCredentials: &[]string{"api_key", "client_secret"},
				CreatedAt:          when.UTC(), UpdatedAt: when.UTC(), LastUsedAt: to(when.UTC()),
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, toServiceAccount(&c.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServiceAccountComesIn(t *testing.T) {
	t.Parallel()
	when := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	got := newServiceAccount(&api.ServiceAccountCreate{
		Name: "n", DisplayName: to("d"), Description: to("e"), Kind: to("job"), Owner: "o", Labels: &api.Labels{"k": "v"},
		ExpiresAt: &when, TokenLifetime: to(int32(60)), TokenRateLimit: to(int32(120)), DefaultResourceServer: to("rs_1"), AllowedNetworks: &[]string{"192.0.2.0/24"},
		AllowedCredentials: &[]string{"api_key"},
	})
	want := directory.NewServiceAccount{
		Name: "n", DisplayName: "d", Description: "e", Kind: "job", Owner: "o", Labels: map[string]string{"k": "v"},
		ExpiresAt: when, TokenLifetime: time.Minute, TokenRateLimit: 120, DefaultResourceServer: "rs_1", AllowedNetworks: []string{"192.0.2.0/24"},
		AllowedCredentials: []identity.CredentialKind{identity.KindAPIKey},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	least := newServiceAccount(&api.ServiceAccountCreate{Name: "n", Owner: "o"})
	if diff := cmp.Diff(directory.NewServiceAccount{Name: "n", Owner: "o"}, least); diff != "" {
		t.Error(diff)
	}
}

func TestAbsentNullAndAValueAreThreeThingsInAPatch(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		in   api.ServiceAccountUpdate
		want directory.ServiceAccountPatch
	}{
		{"absent", api.ServiceAccountUpdate{}, directory.ServiceAccountPatch{}},
		{"null", api.ServiceAccountUpdate{
			DisplayName: nullable.NewNullNullable[string](), Labels: nullable.NewNullNullable[map[string]*string](),
			ExpiresAt: nullable.NewNullNullable[time.Time](), TokenLifetime: nullable.NewNullNullable[int32](),
			TokenRateLimit: nullable.NewNullNullable[int32](), AllowedNetworks: nullable.NewNullNullable[[]string](),
		}, directory.ServiceAccountPatch{
			DisplayName: directory.PatchNull[string](), Labels: directory.PatchNull[map[string]*string](),
			ExpiresAt: directory.PatchNull[time.Time](), TokenLifetime: directory.PatchNull[time.Duration](),
			TokenRateLimit: directory.PatchNull[int](), AllowedNetworks: directory.PatchNull[[]string](),
		}},
		{"values", api.ServiceAccountUpdate{
			Name: to("n"), DisplayName: nullable.NewNullableWithValue(""), Kind: to("job"), Owner: to("o"),
			Labels:         nullable.NewNullableWithValue(map[string]*string{"k": to("v"), "gone": nil}),
			TokenRateLimit: nullable.NewNullableWithValue(int32(120)),
			TokenLifetime:  nullable.NewNullableWithValue(int32(60)), AllowedNetworks: nullable.NewNullableWithValue([]string{}),
		}, directory.ServiceAccountPatch{
			Name: directory.PatchTo("n"), DisplayName: directory.PatchTo(""), Kind: directory.PatchTo(identity.KindJob),
			Owner: directory.PatchTo("o"), Labels: directory.PatchTo(map[string]*string{"k": to("v"), "gone": nil}),
			TokenRateLimit: directory.PatchTo(120),
			TokenLifetime:  directory.PatchTo(time.Minute), AllowedNetworks: directory.PatchTo([]string{}),
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, serviceAccountPatch(&c.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLabelFilter(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		in      []string
		want    map[string]string
		refused bool
	}{
		{"none", nil, map[string]string{}, false},
		{"two", []string{"a=b", "c=d=e"}, map[string]string{"a": "b", "c": "d=e"}, false},
		{"the same twice", []string{"a=b", "a=b"}, map[string]string{"a": "b"}, false},
		{"one key with two values", []string{"a=b", "a=c"}, nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := labelsOf(&c.in)
			if (err != nil) != c.refused {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOverlapZeroIsNotOverlapAbsent(t *testing.T) {
	t.Parallel()
	if got := rotation(&api.ClientSecretRotation{}); got.Overlap != nil {
		t.Errorf("absent became %v", *got.Overlap)
	}
	if got := rotation(&api.ClientSecretRotation{Overlap: to(int32(0))}); got.Overlap == nil || *got.Overlap != 0 {
		t.Errorf("zero became %v", got.Overlap)
	}
}

func TestAccessTypesGoOutWithoutNullLists(t *testing.T) {
	t.Parallel()
	rs := toResourceServer(&identity.ResourceServer{ID: "rs_1", TokenLifetimeMax: time.Hour})
	if rs.Permissions == nil || rs.Introspectors == nil || *rs.TokenLifetimeMax != 3600 {
		t.Errorf("%+v", rs)
	}
	role := toRole(&identity.Role{ID: "role_1"})
	if role.Permissions == nil {
		t.Errorf("%+v", role)
	}
	who := toWhoami(&directory.Whoami{Account: &identity.ServiceAccount{}, Grants: []directory.HeldGrant{{Audience: "a"}}})
	if who.Permissions == nil || who.Grants[0].Roles == nil || who.Grants[0].Permissions == nil {
		t.Errorf("%+v", who)
	}
}

func TestAccessTypesComeIn(t *testing.T) {
	t.Parallel()
	patch := resourceServerPatch(&api.ResourceServerUpdate{
		Permissions: nullable.NewNullableWithValue([]api.DeclaredPermission{{Name: "a:b"}}),
		SigningAlg:  to(api.ResourceServerUpdateSigningAlg("ES256")),
	})
	want := directory.ResourceServerPatch{
		Permissions: directory.PatchTo([]identity.Permission{{Name: "a:b"}}), SigningAlg: directory.PatchTo("ES256"),
	}
	if diff := cmp.Diff(want, patch); diff != "" {
		t.Error(diff)
	}
	role := newRole(&api.RoleCreate{Name: "r", Permissions: &[]api.RolePermission{{ResourceServer: "rs_1", Permission: "a:b"}}})
	wantRole := directory.NewRole{Name: "r", Permissions: []identity.RolePermission{{ResourceServerID: "rs_1", Permission: "a:b"}}}
	if diff := cmp.Diff(wantRole, role); diff != "" {
		t.Error(diff)
	}
}

func TestAuditEventGoesOut(t *testing.T) {
	t.Parallel()
	link := audit.Link{Chain: "chn_1", Seq: 2, Event: audit.Event{
		ID: "evt_1", At: testTime, Type: audit.TokenIssued, Outcome: audit.Success, Actor: "sa_1",
		Address: netip.MustParseAddr("192.0.2.7"), Count: 3, Details: map[string]string{"k": "v"},
	}}
	want := api.AuditEvent{
		ID: "evt_1", Chain: "chn_1", Seq: 2, At: testTime, Type: "token.issued", Outcome: "success", Actor: to("sa_1"),
		Address: to("192.0.2.7"), Count: to(int64(3)), Details: &map[string]string{"k": "v"},
	}
	if diff := cmp.Diff(want, toAuditEvent(&link), cmpopts.IgnoreFields(api.AuditEvent{}, "Hash")); diff != "" {
		t.Error(diff)
	}
}

func TestPermissionChangesComeInAndTheReportGoesOut(t *testing.T) {
	t.Parallel()
	in := permissionChanges(&api.PermissionChanges{
		Rename: &[]api.PermissionRenaming{{From: "a", To: "b"}}, Remove: &[]string{"c"}, DryRun: to(true),
	})
	want := directory.PermissionChanges{Rename: []identity.Renaming{{From: "a", To: "b"}}, Remove: []string{"c"}, DryRun: true}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(directory.PermissionChanges{}, permissionChanges(&api.PermissionChanges{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	got := toPermissionChangeReport(&directory.PermissionChangeReport{
		Applied: true, ResourceServer: &identity.ResourceServer{ID: "rs_1"},
		Roles: []directory.ChangedRole{
			{ID: "role_1", Name: "one", Renamed: []identity.Renaming{{From: "a", To: "b"}}}, {ID: "role_2", Name: "two", Removed: []string{"c"}},
		},
		Losses: directory.Losses{Count: 101, First: []directory.Loss{{ServiceAccountID: "sa_1", AccountName: "n", Permission: "c", RoleNames: []string{"two"}}}},
	})
	report := api.PermissionChangeReport{
		Applied: true, ResourceServer: toResourceServer(&identity.ResourceServer{ID: "rs_1"}),
		Roles: []api.ChangedRole{
			{Role: "role_1", RoleName: "one", Renamed: []api.PermissionRenaming{{From: "a", To: "b"}}, Removed: []string{}},
			{Role: "role_2", RoleName: "two", Renamed: []api.PermissionRenaming{}, Removed: []string{"c"}},
		},
		Losses: api.PermissionLosses{Count: 101, Items: []api.PermissionLoss{{ServiceAccount: "sa_1", Name: "n", Permission: "c", Roles: []string{"two"}}}},
	}
	if diff := cmp.Diff(report, got); diff != "" {
		t.Error(diff)
	}
}
