// Package jose reads and writes JSON Web Signatures and JSON Web Keys, strictly:
// what RFC 7515 and RFC 7517 leave open is closed here, so that a token has one
// accepted spelling and a key one accepted algorithm. It is the only importer of
// golang-jwt, whose methods do the verification once the text has passed.
package jose

import "errors"

// ErrInvalid is what every refused token gets, whatever is wrong with it: its
// text never varies, so that a forger learns nothing from it. [Reason] tells
// the difference to our own logs.
var ErrInvalid = errors.New("jose: the token is not valid")

// invalid is ErrInvalid with a reason inside. The reason is a fixed text of
// ours and never repeats a byte of the token.
type invalid struct{ reason string }

// Error is the same for all reasons.
func (*invalid) Error() string { return ErrInvalid.Error() }

// Is makes errors.Is(err, ErrInvalid) hold.
func (*invalid) Is(target error) bool { return target == ErrInvalid }

func refuse(reason string) error { return &invalid{reason} }

// Reason tells, for logs only, why a token was refused; "" when err is no
// refusal of this package.
func Reason(err error) string {
	if i, ok := errors.AsType[*invalid](err); ok {
		return i.reason
	}
	return ""
}
