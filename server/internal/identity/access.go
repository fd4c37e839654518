package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// ResourceServer is an API that accepts our tokens. Its Identifier is the
// token's aud; it declares the permissions that may stand in the token's scope.
type ResourceServer struct {
	ID               string
	Identifier       string // absolute URI without fragment (RFC 8707 section 2); never changes
	Name             string
	Permissions      []Permission
	TokenLifetimeMax time.Duration // zero: the server's own maximum
	SigningAlg       string        // JWS algorithm that was asked for its tokens
	SigningAlgBefore string        // the one of its tokens until a key of that is ready
	// SigningAlgEffective is which of the two it is now. It is not stored.
	SigningAlgEffective string
	Introspectors       []string // ids of the accounts that see its tokens as active
	BuiltIn             bool
	Version             int64
	CreatedAt           time.Time
	UpdatedAt           time.Time
}

// Permission is declared by a resource server, such as "invoices:read".
type Permission struct {
	Name        string
	Description string
}

// Renaming is a new name for a declared permission.
type Renaming struct{ From, To string }

// Role is a named set of permissions of one or several resource servers.
type Role struct {
	ID          string
	Name        string // unique slug among the living
	Description string
	Permissions []RolePermission
	BuiltIn     bool
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// RolePermission names one permission of one resource server.
type RolePermission struct {
	ResourceServerID string
	Permission       string
}

// Assignment gives a role to a service account. A zero ExpiresAt means for good.
type Assignment struct {
	ServiceAccountID string
	RoleID           string
	RoleName         string
	ExpiresAt        time.Time
	CreatedAt        time.Time
}

// Version tells two states of an assignment apart. It has no column: it is a
// digest of all that is told of an assignment, which is all that can change. An
// assignment that is taken away and made anew was made at another moment, so it
// has another version. One whose end is moved and moved back has its old version
// again: then it is what its reader has seen, and no change of anybody's is lost.
// The name of the role is in it, since it is in the answer that the version tags.
func (a *Assignment) Version() int64 {
	h := sha256.New()
	for _, text := range []string{a.ServiceAccountID, a.RoleID, a.RoleName} {
		_, _ = fmt.Fprintf(h, "%d %s ", len(text), text) // a hash takes everything
	}
	for _, t := range []time.Time{a.ExpiresAt, a.CreatedAt} {
		if !t.IsZero() {
			_, _ = fmt.Fprint(h, t.UnixMicro())
		}
		_, _ = fmt.Fprint(h, " ")
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil)) >> 1) // never negative, as versions are
}

// Live reports whether the assignment still grants anything at the given time.
func (a *Assignment) Live(now time.Time) bool {
	return a.ExpiresAt.IsZero() || now.Before(a.ExpiresAt)
}

// EffectivePermission is what an account may do at one resource server, and by
// which of its roles.
type EffectivePermission struct {
	ResourceServerID string
	Audience         string // the identifier of the resource server
	Permission       string
	Roles            []GivingRole // in the order of names; not all of very many
	RoleCount        int          // of all roles that give it
	LastUsedAt       time.Time    // the beginning of that hour; zero: never
}

// GivingRole is a role by which an account has something, until it ends.
type GivingRole struct {
	RoleID    string
	RoleName  string
	ExpiresAt time.Time // zero: for good
}
