package faults

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	order "encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to look at the rows from outside

	"github.com/marque-id/marque/conformance/server"
)

// What is sealed in the database, read from outside: with the file of the
// master key and what is written about the form, and nothing of the server's.

// masterKeys are the versions in a master key file.
func masterKeys(t *testing.T, o server.Options) map[int][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.Dir, "master.key"))
	must(t, err)
	keys := map[int][]byte{}
	for line := range strings.Lines(string(text)) {
		head, encoded, _ := strings.Cut(strings.TrimSpace(line), ":")
		version, err := strconv.Atoi(strings.TrimPrefix(head, "v"))
		must(t, err)
		keys[version], err = base64.StdEncoding.DecodeString(encoded)
		must(t, err)
	}
	return keys
}

// reach opens the database past the server.
func reach(t *testing.T, o server.Options) *sql.DB {
	t.Helper()
	if o.Database == "" || strings.HasPrefix(o.Database, "sqlite:") {
		return sqliteFile(t, o)
	}
	db, err := sql.Open("pgx", o.Database)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// sealed is one row that the master key opens.
type sealed struct {
	purpose, id     string
	version         int
	key, ciphertext []byte
}

func sealedRows(t *testing.T, db *sql.DB) (all []sealed) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT CASE key_use WHEN 'checkpoint' THEN 'audit' ELSE 'token' END, id, master_version, wrapped_key, ciphertext FROM signing_keys
		UNION ALL SELECT 'secret', name, master_version, wrapped_key, ciphertext FROM sealed_secrets`)
	must(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s sealed
		must(t, rows.Scan(&s.purpose, &s.id, &s.version, &s.key, &s.ciphertext))
		all = append(all, s)
	}
	must(t, rows.Err())
	return all
}

// open decrypts the row.
func (s sealed) open(masters map[int][]byte) ([]byte, error) {
	master := masters[s.version]
	if master == nil {
		return nil, fmt.Errorf("%s %s is sealed under version %d, which is not there", s.purpose, s.id, s.version)
	}
	dataKey, err := gcm(master).Open(nil, nil, s.key, s.around("marque/envelope/key", true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the key of %s %s", s.purpose, s.id), err)
	}
	return gcm(dataKey).Open(nil, nil, s.ciphertext, s.around("marque/envelope/value", false))
}

// seal encrypts a value as the server would.
func (s sealed) seal(master, value []byte) sealed {
	dataKey := make([]byte, 32)
	_, _ = rand.Read(dataKey)
	s.key = gcm(master).Seal(nil, nil, dataKey, s.around("marque/envelope/key", true))
	s.ciphertext = gcm(dataKey).Seal(nil, nil, value, s.around("marque/envelope/value", false))
	return s
}

// around is what is authenticated beside the text.
func (s sealed) around(what string, versioned bool) (b []byte) {
	for _, part := range []string{what, s.purpose, s.id} {
		b = order.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	if versioned {
		b = order.BigEndian.AppendUint64(b, uint64(s.version))
	}
	return b
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// addRevokedKeys puts keys into the database that have had their time, as years
// of rotations leave them.
func addRevokedKeys(ctx context.Context, t *testing.T, o server.Options, n int) {
	t.Helper()
	master, db := masterKeys(t, o), reach(t, o)
	for i := range n {
		row := sealed{purpose: "token", id: fmt.Sprintf("key_%026d", i), version: 1}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		point, err := key.PublicKey.Bytes()
		must(t, err)
		word := base64.RawURLEncoding.EncodeToString
		jwk := fmt.Sprintf(`{"kty":"EC","use":"sig","alg":"ES256","kid":"%s","crv":"P-256","x":"%s","y":"%s"}`, row.id, word(point[1:33]), word(point[33:]))
		row = row.seal(master[1], der)
		_, err = db.ExecContext(ctx, `INSERT INTO signing_keys (id, key_use, algorithm, state, public_jwk, master_version, wrapped_key, ciphertext, created_at, activated_at, retired_at, revoked_at, version)
			VALUES ($1, 'token', 'ES256', 'revoked', $2, 1, $3, $4, 1, 1, 1, 1, 1)`, row.id, []byte(jwk), row.key, row.ciphertext)
		must(t, err)
	}
}

// ownSecrets are the secrets of an installation itself: all that its master key
// opens, the master key, and the key of its certificate.
func ownSecrets(t *testing.T, o server.Options) map[string]string {
	t.Helper()
	all, masters := map[string]string{}, masterKeys(t, o)
	for version, key := range masters {
		all[fmt.Sprintf("version %d of the master key", version)] = string(key)
		all[fmt.Sprintf("the line of version %d of the master key", version)] = base64.StdEncoding.EncodeToString(key)
	}
	private := func(what string, der []byte) {
		key, err := x509.ParsePKCS8PrivateKey(der)
		must(t, err)
		scalar, err := key.(*ecdsa.PrivateKey).Bytes()
		must(t, err)
		all[what], all[what+" in DER"] = string(scalar), string(der)
	}
	for _, row := range sealedRows(t, reach(t, o)) {
		value, err := row.open(masters)
		must(t, err)
		if row.purpose == "secret" {
			all["the sealed secret "+row.id] = string(value)
		} else {
			private("the private key "+row.id, value)
		}
	}
	text, err := os.ReadFile(filepath.Join(o.Dir, "key.pem"))
	must(t, err)
	block, _ := pem.Decode(text)
	private("the private key of the certificate", block.Bytes)
	return all
}
