package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// useGrain is how exactly the last use of a permission is known: an agent that
// never rests costs one write in this time.
const useGrain = time.Hour

// permissionUse is one permission of one account.
type permissionUse struct{ account, resourceServer, permission string }

// permissionUses gather which account has used which permission in which hour.
type permissionUses struct {
	noted *noted

	mu      sync.Mutex
	waiting map[permissionUse]int64 // the beginning of the hour; at most maxUses
}

func newPermissionUses(accounts int) *permissionUses {
	return &permissionUses{noted: newNoted(accounts), waiting: map[permissionUse]int64{}}
}

// Used notes that an account has used permissions of a resource server, given as
// in a scope: with spaces between them. It is written some seconds later,
// together with others; a crash forgets those seconds. What was noted in the
// same hour already costs no lock and no memory.
func (s *Store) Used(accountID, resourceServerID, permissions string, at time.Time) {
	hour := at.Truncate(useGrain).UnixMicro()
	if s.permissionUses.noted.again(accountID, resourceServerID, permissions, hour) {
		return
	}
	u := s.permissionUses
	u.mu.Lock()
	defer u.mu.Unlock()
	// Copied: the texts are parts of a request or of a token.
	before, account := len(u.waiting), own(accountID)
	for p := range strings.FieldsSeq(permissions) {
		u.note(permissionUse{account, resourceServerID, own(p)}, hour)
	}
	s.wakeForUses(before, len(u.waiting))
}

// Used is [Store.Used] at the time of the transaction, whatever becomes of it.
func (tx *Tx) Used(accountID, resourceServerID, permissions string) {
	tx.store.Used(accountID, resourceServerID, permissions, tx.Now)
}

// note keeps the latest hour. The caller holds mu.
func (u *permissionUses) note(use permissionUse, hour int64) {
	if was, ok := u.waiting[use]; hour > was && (ok || len(u.waiting) < maxUses) {
		u.waiting[use] = hour
	}
}

func (u *permissionUses) take() map[permissionUse]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := u.waiting
	u.waiting = map[permissionUse]int64{}
	return waiting
}

// flushPermissionUses writes what Used has gathered. What could not be written
// waits for the next round.
func (s *Store) flushPermissionUses(ctx context.Context) error {
	u := s.permissionUses
	waiting := u.take()
	order := func(a, b permissionUse) int {
		return slices.Compare([]string{a.account, a.resourceServer, a.permission}, []string{b.account, b.resourceServer, b.permission})
	}
	err := writeUses(ctx, s, slices.SortedFunc(maps.Keys(waiting), order), waiting,
		func(m *Maintenance, uses []permissionUse) error { return m.notePermissionUses(ctx, uses, waiting) })
	if err != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		for use, hour := range waiting {
			u.note(use, hour)
		}
	}
	return err
}

// notePermissionUses leaves out accounts and permissions that have gone in the
// seconds since: this transaction and the one that took them away come one after
// the other.
func (m *Maintenance) notePermissionUses(ctx context.Context, uses []permissionUse, last map[permissionUse]int64) error {
	args := make([]any, 0, 4*len(uses))
	for _, u := range uses {
		args = append(args, u.account, u.resourceServer, u.permission, last[u])
	}
	values := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(uses)), ", ")
	query := "WITH seen(account, server, permission, at) AS (VALUES " + values + `)
		INSERT INTO permission_uses (service_account_id, resource_server_id, permission, last_used_at)
		SELECT seen.account, seen.server, seen.permission, seen.at FROM seen
		JOIN service_accounts AS a ON a.id = seen.account AND a.deleted_at = 0
		JOIN resource_server_permissions AS p ON p.resource_server_id = seen.server AND p.name = seen.permission
		WHERE true
		ON CONFLICT (service_account_id, resource_server_id, permission) DO UPDATE SET last_used_at = excluded.last_used_at
		WHERE permission_uses.last_used_at < excluded.last_used_at`
	_, err := m.db.NewRaw(query, args...).Exec(ctx)
	return translate(err)
}

// forgetPermissionUses drops what a deleted account has used.
func (tx *Tx) forgetPermissionUses(ctx context.Context, accountID string) error {
	_, err := tx.db.NewDelete().TableExpr("permission_uses").Where("service_account_id = ?", accountID).Exec(ctx)
	return translate(err)
}
