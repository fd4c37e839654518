package faults

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"testing"

	"github.com/marque-id/marque/conformance/server"
)

// TestOnlyMACsUnderThePepperAreStored looks at the rows of all client secrets
// and API keys from outside. Each is the MAC of what was given out, under the
// pepper that only the master key opens: whoever has the rows and no pepper
// cannot try secrets on them.
func TestOnlyMACsUnderThePepperAreStored(t *testing.T) {
	shortCut(t)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		ctx := t.Context()
		s := start(t, o)
		f := muster(ctx, t, s, 2)
		var key struct {
			APIKey string `json:"api_key"`
		}
		must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/service-accounts/"+f.agents[0].id+"/api-keys", map[string]any{"name": "stored"}, &key))

		db := reach(t, o)
		var pepper []byte
		for _, row := range sealedRows(t, db) {
			if row.purpose == "secret" && row.id == "pepper" {
				var err error
				pepper, err = row.open(masterKeys(t, o))
				must(t, err)
			}
		}
		if len(pepper) != 32 {
			t.Fatalf("the pepper has %d bytes", len(pepper))
		}
		wrong := 0
		for table, given := range map[string][]string{
			"client_secrets": {s.AdminSecret, f.agents[0].secret, f.agents[1].secret},
			"api_keys":       {key.APIKey},
		} {
			stored := map[string]bool{}
			for _, mac := range column(t, db, "SELECT mac FROM "+table) {
				stored[mac] = true
			}
			for i, secret := range given {
				mac := hmac.New(sha256.New, pepper)
				_, _ = fmt.Fprint(mac, secret)
				if sum := string(mac.Sum(nil)); !stored[sum] {
					wrong++
					t.Errorf("%s has no MAC under the pepper of secret %d of %d", table, i+1, len(given))
				} else {
					delete(stored, sum)
				}
			}
			if len(stored) != 0 {
				wrong++
				t.Errorf("%s has %d MACs that are of no secret that was given out", table, len(stored))
			}
		}
		report(t, "secrets as they are stored", database, wrong == 0, "0", "%d rows that are no MAC under the sealed pepper", wrong)
	})
}
