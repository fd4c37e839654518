package keyring

import "errors"

var (
	errOwed     = errors.New("keyring: a change of the signing keys is not loaded yet")
	errNoSigner = errors.New("keyring: there is no active key: run Bootstrap")
)
