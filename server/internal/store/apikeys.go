package store

import (
	"context"
	"errors"
	"slices"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatAPIKey = "API key"

type apiKeyRow struct {
	bun.BaseModel `bun:"table:api_keys"`

	ID               string `bun:",pk"`
	ServiceAccountID string
	Name             string
	Hint             string
	MAC              []byte `bun:"mac"`
	Restricted       bool
	AllowedNetworks  string
	ReplacedBy       string
	ExpiresAt        int64
	Version          int64
	CreatedAt        int64
	UpdatedAt        int64
	LastUsedAt       int64
	DeletedAt        int64
}

type apiKeyPermissionRow struct {
	bun.BaseModel `bun:"table:api_key_permissions"`

	APIKeyID         string `bun:"api_key_id,pk"`
	ResourceServerID string `bun:",pk"`
	Permission       string `bun:",pk"`
}

func apiKeyToRow(k *identity.APIKey) *apiKeyRow {
	return &apiKeyRow{
		ID: k.ID, ServiceAccountID: k.ServiceAccountID, Name: k.Name, Hint: k.Hint, MAC: k.MAC[:],
		Restricted: k.Restricted, AllowedNetworks: encodeNetworks(k.AllowedNetworks), ReplacedBy: k.ReplacedBy,
		ExpiresAt: micros(k.ExpiresAt), Version: k.Version,
		CreatedAt: micros(k.CreatedAt), UpdatedAt: micros(k.UpdatedAt), LastUsedAt: micros(k.LastUsedAt),
	}
}

func (r *apiKeyRow) key() (identity.APIKey, error) {
	networks, err := decodeNetworks(r.AllowedNetworks)
	if err != nil {
		return identity.APIKey{}, fault.Internal(err)
	}
	k := identity.APIKey{
		ID: r.ID, ServiceAccountID: r.ServiceAccountID, Name: r.Name, Hint: r.Hint,
		Restricted: r.Restricted, AllowedNetworks: networks, ReplacedBy: r.ReplacedBy,
		ExpiresAt: fromMicros(r.ExpiresAt), Version: r.Version,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt), LastUsedAt: fromMicros(r.LastUsedAt),
	}
	if copy(k.MAC[:], r.MAC) != len(k.MAC) || len(r.MAC) != len(k.MAC) {
		return k, fault.Internal(errSizeOf("mac", r.ID))
	}
	return k, nil
}

// APIKey is an undeleted key of the account, live or expired.
func (r *Reader) APIKey(ctx context.Context, accountID, id string) (*identity.APIKey, error) {
	if !known(accountID) || !known(id) {
		return nil, fault.NotFound(whatAPIKey)
	}
	row := new(apiKeyRow)
	err := r.db.NewSelect().Model(row).
		Where("id = ?", id).Where("service_account_id = ?", accountID).Where("deleted_at = 0").Scan(ctx)
	if err != nil {
		return nil, one(err, whatAPIKey)
	}
	k, err := row.key()
	if err != nil {
		return nil, err
	}
	list := []identity.APIKey{k}
	return &list[0], r.fillAPIKeys(ctx, list)
}

// APIKeys lists the undeleted keys of an account.
func (r *Reader) APIKeys(ctx context.Context, accountID string, p Page) (items []identity.APIKey, more bool, err error) {
	if err := storable(accountID, p.After); err != nil {
		return nil, false, err
	}
	var rows []apiKeyRow
	q := r.db.NewSelect().Model(&rows).Where("service_account_id = ?", accountID).Where("deleted_at = 0")
	if err := p.cut(q, "id").Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	if items, more, err = page(rows, p, (*apiKeyRow).key); err != nil {
		return nil, false, err
	}
	return items, more, r.fillAPIKeys(ctx, items)
}

// fillAPIKeys adds the permissions, in their order.
func (r *Reader) fillAPIKeys(ctx context.Context, list []identity.APIKey) error {
	at := make(map[string]*identity.APIKey, len(list))
	var ids []string
	for i := range list {
		if list[i].Restricted {
			at[list[i].ID], ids = &list[i], append(ids, list[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var rows []apiKeyPermissionRow
	if err := r.db.NewSelect().Model(&rows).Where("api_key_id IN (?)", bun.List(ids)).
		Order("api_key_id", "resource_server_id", "permission").Scan(ctx); err != nil {
		return translate(err)
	}
	for _, p := range rows {
		k := at[p.APIKeyID]
		k.Permissions = append(k.Permissions, identity.RolePermission{ResourceServerID: p.ResourceServerID, Permission: p.Permission})
	}
	return nil
}

func storableAPIKey(k *identity.APIKey) error {
	texts := []string{k.ID, k.ServiceAccountID, k.Name, k.Hint, k.ReplacedBy}
	for _, p := range k.Permissions {
		texts = append(texts, p.ResourceServerID, p.Permission)
	}
	return storable(texts...)
}

// InsertAPIKey adds a key to a living account. A permission that no resource
// server declares is Invalid.
func (tx *Tx) InsertAPIKey(ctx context.Context, k *identity.APIKey) error {
	if err := storableAPIKey(k); err != nil {
		return err
	}
	if _, err := tx.ServiceAccount(ctx, k.ServiceAccountID); err != nil {
		return err
	}
	k.Version, k.CreatedAt, k.UpdatedAt = 1, orNow(k.CreatedAt, tx.Now), tx.Now
	if _, err := tx.db.NewInsert().Model(apiKeyToRow(k)).Exec(ctx); err != nil {
		return translate(err)
	}
	tx.written(ChangedServiceAccount, k.ServiceAccountID)
	return tx.writeKeyPermissions(ctx, k)
}

// UpdateAPIKey writes name, permissions, networks, end and successor, provided
// that k.Version is the stored one; then k.Version and k.UpdatedAt are the new ones.
func (tx *Tx) UpdateAPIKey(ctx context.Context, k *identity.APIKey) error {
	if err := storableAPIKey(k); err != nil {
		return err
	}
	was, err := tx.APIKey(ctx, k.ServiceAccountID, k.ID)
	if err != nil {
		return err
	}
	row := apiKeyToRow(k)
	row.Version, row.UpdatedAt = k.Version+1, micros(tx.Now)
	err = guarded(ctx, tx.db.NewUpdate().Model(row).
		Column("name", "restricted", "allowed_networks", "replaced_by", "expires_at", "version", "updated_at").
		Where("id = ?", k.ID).Where("service_account_id = ?", k.ServiceAccountID).
		Where("version = ?", k.Version).Where("deleted_at = 0"), tx.apiKeyExists(ctx, k.ServiceAccountID, k.ID))
	if err != nil {
		return err
	}
	k.Version, k.UpdatedAt = row.Version, tx.Now
	tx.written(ChangedServiceAccount, k.ServiceAccountID)
	if !k.ExpiresAt.Equal(was.ExpiresAt) {
		if err := tx.endMoved(ctx, identity.RevokedCredential, k.ID, k.ExpiresAt); err != nil {
			return err
		}
	}
	if err := tx.dropKeyPermissions(ctx, k.ID); err != nil {
		return err
	}
	return tx.writeKeyPermissions(ctx, k)
}

func (tx *Tx) writeKeyPermissions(ctx context.Context, k *identity.APIKey) error {
	slices.SortFunc(k.Permissions, identity.RolePermission.Compare)
	k.Permissions = slices.Compact(k.Permissions)
	if !k.Restricted || len(k.Permissions) == 0 {
		return nil
	}
	rows := make([]apiKeyPermissionRow, len(k.Permissions))
	for i, p := range k.Permissions {
		rows[i] = apiKeyPermissionRow{APIKeyID: k.ID, ResourceServerID: p.ResourceServerID, Permission: p.Permission}
	}
	_, err := tx.db.NewInsert().Model(&rows).Exec(ctx)
	if err = translate(err); errors.As(err, new(referenceViolation)) {
		return fault.Invalid("a permission of the API key is not declared by its resource server").Because(err)
	}
	return err
}

func (tx *Tx) dropKeyPermissions(ctx context.Context, keys ...string) error {
	_, err := tx.db.NewDelete().Model((*apiKeyPermissionRow)(nil)).Where("api_key_id IN (?)", bun.List(keys)).Exec(ctx)
	return translate(err)
}

// DeleteAPIKey ends a key for good, and with it the tokens that were issued for
// it. Those of one that has ended before are dead already.
func (tx *Tx) DeleteAPIKey(ctx context.Context, k *identity.APIKey) error {
	err := guarded(ctx, tx.db.NewUpdate().Model((*apiKeyRow)(nil)).
		Set("deleted_at = ?", micros(tx.Now)).Set("updated_at = ?", micros(tx.Now)).Set("version = version + 1").
		Where("id = ?", k.ID).Where("service_account_id = ?", k.ServiceAccountID).
		Where("version = ?", k.Version).Where("deleted_at = 0"), tx.apiKeyExists(ctx, k.ServiceAccountID, k.ID))
	if err != nil {
		return err
	}
	tx.written(ChangedServiceAccount, k.ServiceAccountID)
	if k.Live(tx.Now) {
		if err := tx.revoked(ctx, identity.RevokedCredential, k.ID, 0); err != nil {
			return err
		}
	}
	return tx.dropKeyPermissions(ctx, k.ID)
}

// deleteAPIKeysOf ends all keys of an account that is being deleted.
func (tx *Tx) deleteAPIKeysOf(ctx context.Context, accountID string) error {
	var ids []string
	err := tx.db.NewSelect().Model((*apiKeyRow)(nil)).Column("id").
		Where("service_account_id = ?", accountID).Where("deleted_at = 0").Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return translate(err)
	}
	if _, err := tx.db.NewUpdate().Model((*apiKeyRow)(nil)).
		Set("deleted_at = ?", micros(tx.Now)).Set("updated_at = ?", micros(tx.Now)).Set("version = version + 1").
		Where("id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
		return translate(err)
	}
	return tx.dropKeyPermissions(ctx, ids...)
}

// touchAPIKeys gives the keys that are restricted to permissions of a resource
// server their next version, before something becomes of these; no names stand
// for all of them. What is in memory of their accounts goes by the change of the
// resource server: there may be very many of them.
func (tx *Tx) touchAPIKeys(ctx context.Context, resourceServerID string, names ...string) error {
	holders := tx.db.NewSelect().Model((*apiKeyPermissionRow)(nil)).Column("api_key_id").
		Where("resource_server_id = ?", resourceServerID)
	if len(names) > 0 {
		holders = holders.Where("permission IN (?)", bun.List(names))
	}
	_, err := tx.db.NewUpdate().Model((*apiKeyRow)(nil)).
		Set("version = version + 1").Set("updated_at = ?", micros(tx.Now)).
		Where("id IN (?)", holders).Exec(ctx)
	return translate(err)
}

// touchKeysOfWithdrawn does that for the permissions that are declared and not
// among those to keep.
func (tx *Tx) touchKeysOfWithdrawn(ctx context.Context, resourceServerID string, keep []string) error {
	var declared []string
	if err := tx.db.NewSelect().Model((*permissionRow)(nil)).Column("name").
		Where("resource_server_id = ?", resourceServerID).Scan(ctx, &declared); err != nil {
		return translate(err)
	}
	withdrawn := slices.DeleteFunc(declared, func(name string) bool { return slices.Contains(keep, name) })
	if len(withdrawn) == 0 {
		return nil
	}
	return tx.touchAPIKeys(ctx, resourceServerID, withdrawn...)
}

func (tx *Tx) apiKeyExists(ctx context.Context, accountID, id string) func() error {
	return func() error {
		_, err := tx.APIKey(ctx, accountID, id)
		return err
	}
}

// Credential is an undeleted credential of the account, of whatever kind, live
// or expired.
func (r *Reader) Credential(ctx context.Context, accountID, id string) (*identity.Credential, error) {
	if identity.ParseID(identity.PrefixAPIKey, id) == nil {
		k, err := r.APIKey(ctx, accountID, id)
		if err != nil {
			return nil, err
		}
		c := k.Credential()
		return &c, nil
	}
	s, err := r.ClientSecret(ctx, accountID, id)
	if err != nil {
		return nil, err
	}
	c := s.Credential()
	return &c, nil
}

// maxKeyOwners bounds the keys whose accounts are known in memory; a key is 100
// bytes or so.
const maxKeyOwners = 50_000

// KeyOwner is the id of the account that has the API key with that MAC, from
// memory when it is known there. An unknown one asks the database at most once a
// second.
//
// Nothing takes a MAC out of memory, because whose a key is never changes: one
// that is deleted is missed where the account is looked at, which must happen
// anyway. And one that is unknown cannot come to exist within the second: nobody
// can have asked for a key before it was made.
func (s *Store) KeyOwner(ctx context.Context, mac *[32]byte) (accountID string, err error) {
	owner, err := s.keyOwners.get(ctx, string(mac[:]), whatAPIKey)
	return owner.accountID, err
}

// keyOwner is whose a key is, known by its MAC.
type keyOwner struct{ mac, accountID string }

func (s *Store) loadKeyOwner(ctx context.Context, mac string) (keyOwner, error) {
	var accountID string
	var err error
	stmt := s.reads.keyOwner
	if stmt == nil { // before Start
		err = s.engine.reader().DB.QueryRowContext(ctx, s.keyOwnerQuery(), []byte(mac)).Scan(&accountID)
	} else {
		err = stmt.QueryRowContext(ctx, []byte(mac)).Scan(&accountID)
	}
	return keyOwner{mac, accountID}, one(err, whatAPIKey)
}

func (s *Store) keyOwnerQuery() string {
	return "SELECT service_account_id FROM api_keys WHERE deleted_at = 0 AND mac = " + string(s.engine.placeholders(nil, 1, 1))
}
