package grant

import "context"

// ClientCredentials is RFC 6749 section 4.4: the client acts for itself, so
// that proving who it is is all that the grant asks. There is nothing left to
// authorize, and no refresh token (section 4.4.3).
func ClientCredentials() Grant {
	return Grant{
		Type:      "client_credentials",
		Authorize: func(context.Context, *Attempt) error { return nil },
	}
}
