package store

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/identity"
)

// What is for people alone is not kept; everything else of an account and of
// its credentials must come back.
func TestAPackedAccountComesBackWhole(t *testing.T) {
	t.Parallel()
	forPeople := cmp.Options{
		cmpopts.IgnoreFields(identity.ServiceAccount{}, "Name", "DisplayName", "Description", "Owner", "Labels", "LastUsedAt"),
		cmpopts.IgnoreFields(identity.ClientSecret{}, "Hint", "ReplacedBy"),
		cmpopts.IgnoreFields(identity.APIKey{}, "Name", "Hint", "ReplacedBy", "Version", "UpdatedAt"),
		cmpopts.EquateComparable(netip.Prefix{}),
		cmp.Comparer(func(a, b *Grant) bool { return a == b }), // the same, not an equal one
	}
	shared := &sharedGrants{grants: map[string]*Grant{"urn:a": {ResourceServerID: "rs_1"}}}
	var full Principal
	counter := 0
	fill(reflect.ValueOf(&full.Account).Elem(), &counter)
	for range 2 {
		var s identity.ClientSecret
		var k identity.APIKey
		fill(reflect.ValueOf(&s).Elem(), &counter)
		fill(reflect.ValueOf(&k).Elem(), &counter)
		s.ServiceAccountID, k.ServiceAccountID = full.Account.ID, full.Account.ID
		full.Secrets, full.APIKeys = append(full.Secrets, s), append(full.APIKeys, k)
	}
	full.APIKeys[1].Restricted = false
	for name, p := range map[string]*Principal{"empty": {}, "full": &full} {
		p.Grants = shared.grants
		if diff := cmp.Diff(p, packPrincipal(p, shared).principal(), forPeople); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if packed := packPrincipal(&full, shared); !packed.mentions(full.APIKeys[0].Permissions[0].ResourceServerID) || packed.mentions("rs_other") {
		t.Error("the resource servers of its keys are not found")
	}
}

// fill gives each field a value of its own.
func fill(v reflect.Value, counter *int) {
	*counter++
	n := *counter
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.UnixMicro(int64(n) << 40).UTC()
		return
	case *time.Duration:
		*at = time.Duration(n) * time.Hour
		return
	case *netip.Prefix:
		*at = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n), 0}), 24)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(rune('a'+n%26)) + "-" + time.Duration(n).String())
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), counter)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.Index(0).SetUint(uint64(n))
			return
		}
		for i := range v.Len() {
			fill(v.Index(i), counter)
		}
	}
}

// BenchmarkUnpack is what an account in memory costs each time it is asked for.
func BenchmarkUnpack(b *testing.B) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := Principal{Secrets: make([]identity.ClientSecret, 1)}
	p.Account = identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, now), Kind: identity.KindAgent, Status: identity.StatusActive,
		Gen: 1, Version: 1, CreatedAt: now, UpdatedAt: now, LastUsedAt: now,
	}
	p.Secrets[0] = identity.ClientSecret{ID: identity.NewID(identity.PrefixClientSecret, now), CreatedAt: now, LastUsedAt: now}
	packed := packPrincipal(&p, &sharedGrants{})
	b.ReportMetric(float64(len(packed.own)), "B/account")
	b.ReportAllocs()
	for b.Loop() {
		_ = packed.principal()
	}
}
