package judge

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/marque-id/marque/conformance/runner/wire"
)

// known are the secrets and tokens of this case so far.
func (r *running) known() []string {
	return append(wire.Secrets(r.log.Exchanges()), r.secrets...)
}

// checkText fails the case if what an SDK prints has a secret in it, plain or
// in an encoding that it is sent in.
func (r *running) checkText(what, text string) {
	for _, secret := range r.known() {
		for _, form := range []string{
			secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(text, form) {
				r.fail("a secret stands in the text of %s: %s", what, text)
				return
			}
		}
	}
}

// checkLog does the same for what the driver wrote to standard error.
func (r *running) checkLog(text string) {
	if text != "" {
		r.checkText("standard error", text)
	}
}
