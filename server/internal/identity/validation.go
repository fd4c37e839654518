package identity

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/marque-id/marque/server/internal/fault"
)

// The limits of what may be stored. Lengths of text are in bytes of UTF-8.
const (
	MaxNameLength        = 63
	MaxDisplayNameLength = 200
	MaxDescriptionLength = 2000
	MaxOwnerLength       = 200
	MaxReasonLength      = 500
	MaxLabels            = 32
	MaxLabelKeyLength    = 63
	MaxLabelValueLength  = 255
	MaxNetworks          = 32
	MaxKeyNameLength     = 200
	MaxIdentifierLength  = 512
	MaxPermissionLength  = 128
	MaxPermissions       = 500 // of one resource server or one role
	MaxIntrospectors     = 100

	MinTokenLifetime = 30 * time.Second
	MaxTokenLifetime = 24 * time.Hour

	MaxTokenRateLimit = 60_000_000 // a minute
)

// SigningAlgorithms are the JWS algorithms that a resource server may ask for.
func SigningAlgorithms() []string { return []string{"ES256", "RS256", "EdDSA"} }

// Findings gathers what is wrong with a request body, so that a caller learns
// all of it at once.
type Findings []fault.Field

// Add notes a finding about the member at the JSON pointer. A finding never
// repeats the value: it may be long, hostile, or a secret in the wrong place.
func (f *Findings) Add(pointer, format string, args ...any) {
	*f = append(*f, fault.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// Err is nil when nothing was found.
func (f Findings) Err() error {
	if len(f) == 0 {
		return nil
	}
	return fault.InvalidFields(f...)
}

// Slug checks a name: lower-case letters, digits and single hyphens, starting
// with a letter and ending with a letter or digit, so that it can stand in a
// path, a file name, a label and a shell command as it is.
func (f *Findings) Slug(pointer, s string) {
	if !isSlug(s) {
		f.Add(pointer, "must be 1 to %d lower-case letters, digits and single hyphens, starting with a letter and not ending with a hyphen", MaxNameLength)
	}
}

func isSlug(s string) bool {
	if s == "" || len(s) > MaxNameLength || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// RequiredText checks a free text that must say something.
func (f *Findings) RequiredText(pointer, s string, maxLength int) {
	if strings.TrimSpace(s) == "" {
		f.Add(pointer, "must not be empty")
		return
	}
	f.Text(pointer, s, maxLength)
}

// Text checks a free text. NUL is refused because PostgreSQL refuses it, the
// other control characters because they forge lines in logs and terminals, and
// the bidirectional overrides because they make a text read as another one.
func (f *Findings) Text(pointer, s string, maxLength int) {
	switch {
	case len(s) > maxLength:
		f.Add(pointer, "must not be longer than %d bytes", maxLength)
	case !utf8.ValidString(s):
		f.Add(pointer, "must be valid UTF-8")
	case strings.ContainsFunc(s, forbiddenRune):
		f.Add(pointer, "must not contain NUL, other control characters or bidirectional overrides")
	}
}

func forbiddenRune(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || '\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069'
}

// Kind checks the kind of an account. The set is open, its form is not.
func (f *Findings) Kind(pointer string, k Kind) { f.Slug(pointer, string(k)) }

// Labels checks the labels of an account.
func (f *Findings) Labels(pointer string, labels map[string]string) {
	if len(labels) > MaxLabels {
		f.Add(pointer, "must not have more than %d members", MaxLabels)
		return
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys) // the answer to one body is always the same
	for _, k := range keys {
		if !isLabelKey(k) {
			f.Add(pointer, "a label's name must be 1 to %d letters, digits, '.', '_', '-' or '/', starting with a letter or digit", MaxLabelKeyLength)
			continue
		}
		f.Text(pointer+"/"+pointerEscape(k), labels[k], MaxLabelValueLength)
	}
}

func isLabelKey(s string) bool {
	if s == "" || len(s) > MaxLabelKeyLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && (i == 0 || strings.IndexByte("._-/", c) < 0) {
			return false
		}
	}
	return true
}

// pointerEscape writes a member name as an RFC 6901 reference token.
func pointerEscape(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

// Permission checks the name of a permission. It stands in scope between
// spaces, so it is an RFC 6749 section 3.3 scope-token, and a narrow one: the
// few punctuation marks that scopes are written with, and no others.
func (f *Findings) Permission(pointer, s string) {
	if !ValidPermission(s) {
		f.Add(pointer, "must be 1 to %d letters, digits, '.', '_', '-', '/', ':' or '*', starting with a letter or digit", MaxPermissionLength)
	}
}

// ValidPermission reports whether s may be the name of a permission.
func ValidPermission(s string) bool {
	if s == "" || len(s) > MaxPermissionLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && (i == 0 || strings.IndexByte("._-/:*", c) < 0) {
			return false
		}
	}
	return true
}

// DeclaredPermissions checks the permissions that a resource server declares.
func (f *Findings) DeclaredPermissions(pointer string, permissions []Permission) {
	if len(permissions) > MaxPermissions {
		f.Add(pointer, "must not have more than %d items", MaxPermissions)
		return
	}
	seen := make(map[string]bool, len(permissions))
	for i, p := range permissions {
		at := pointer + "/" + strconv.Itoa(i)
		f.Permission(at+"/name", p.Name)
		f.Text(at+"/description", p.Description, MaxDescriptionLength)
		if seen[p.Name] {
			f.Add(at+"/name", "is declared twice")
		}
		seen[p.Name] = true
	}
}

// Identifier checks the identifier of a resource server, which is compared
// byte for byte as an aud: an absolute URI without a fragment (RFC 8707
// section 2), in printable ASCII, without user information.
func (f *Findings) Identifier(pointer, s string) {
	if reason := identifierProblem(s); reason != "" {
		f.Add(pointer, "%s", reason)
	}
}

// ValidIdentifier reports whether s may be the identifier of a resource server.
func ValidIdentifier(s string) bool { return identifierProblem(s) == "" }

func identifierProblem(s string) string {
	if s == "" || len(s) > MaxIdentifierLength {
		return fmt.Sprintf("must be 1 to %d characters", MaxIdentifierLength)
	}
	for i := range len(s) {
		// What RFC 3986 does not allow to stand in a URI unescaped; url.Parse
		// lets some of it pass.
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return "must be an absolute URI: characters outside RFC 3986 must be percent-encoded"
		}
	}
	if strings.Contains(s, "#") {
		return "must not have a fragment"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || !u.IsAbs() || u.Host == "" && u.Opaque == "" && u.Path == "":
		return "must be an absolute URI"
	case u.User != nil:
		return "must not contain user information"
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() == "":
		return "must name a host"
	}
	return ""
}

// Networks checks and parses allowed networks: CIDRs whose host bits are zero,
// so that nobody reads a narrower network than the one that holds.
func (f *Findings) Networks(pointer string, networks []string) []netip.Prefix {
	if len(networks) > MaxNetworks {
		f.Add(pointer, "must not have more than %d items", MaxNetworks)
		return nil
	}
	var out []netip.Prefix
	for i, s := range networks {
		at := pointer + "/" + strconv.Itoa(i)
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			f.Add(at, "must be a network such as 192.0.2.0/24 or 2001:db8::/32")
		case p.Addr().Is4In6():
			// Callers' addresses are compared unmapped: this would never match.
			f.Add(at, "must be written as an IPv4 network, not mapped into IPv6")
		case p != p.Masked():
			f.Add(at, "has bits set beyond its length: the network is %s", p.Masked())
		case slices.Contains(out, p):
			f.Add(at, "stands in the list twice")
		default:
			out = append(out, p)
		}
	}
	return out
}

// CredentialKinds checks a list of kinds. The set is open; a kind that is not
// known would lock an account out for a mistyped word.
func (f *Findings) CredentialKinds(pointer string, kinds []CredentialKind) {
	for i, k := range kinds {
		switch at := pointer + "/" + strconv.Itoa(i); {
		case !slices.Contains(CredentialKinds(), k):
			f.Add(at, "is no kind of credential that is known here")
		case slices.Contains(kinds[:i], k):
			f.Add(at, "stands in the list twice")
		}
	}
}

// Lifetime checks how long tokens may live. Zero means "not said here".
func (f *Findings) Lifetime(pointer string, d time.Duration) {
	if d != 0 && (d < MinTokenLifetime || d > MaxTokenLifetime || d%time.Second != 0) {
		f.Add(pointer, "must be whole seconds from %d to %d", int(MinTokenLifetime.Seconds()), int(MaxTokenLifetime.Seconds()))
	}
}

// RateLimit checks a number of calls a minute. Zero means "not said here".
func (f *Findings) RateLimit(pointer string, n int) {
	if n < 0 || n > MaxTokenRateLimit {
		f.Add(pointer, "must be a whole number from 1 to %d", MaxTokenRateLimit)
	}
}

// Future checks a time at which something ends. Zero means "never".
func (f *Findings) Future(pointer string, t, now time.Time) {
	if t.IsZero() {
		return
	}
	if !t.After(now) {
		f.Add(pointer, "must be in the future")
	} else if t.Year() > 9999 {
		f.Add(pointer, "must be before the year 10000") // beyond RFC 3339
	}
}

// ID checks a reference to something with the prefix p.
func (f *Findings) ID(pointer string, p Prefix, s string) bool {
	if err := ParseID(p, s); err != nil {
		f.Add(pointer, "must be an id: %s_ and %d characters of base32", p, idBodyLength)
		return false
	}
	return true
}

// SigningAlg checks the algorithm that a resource server asks for.
func (f *Findings) SigningAlg(pointer, alg string) {
	if !slices.Contains(SigningAlgorithms(), alg) {
		f.Add(pointer, "must be one of %s", strings.Join(SigningAlgorithms(), ", "))
	}
}

// ParseScope splits the value of a scope parameter (RFC 6749 section 3.3):
// scope-tokens between single spaces. Repeated ones count once; the order is
// the caller's. The error says nothing of the text, which is not trusted yet.
func ParseScope(s string, maxTokens int) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if strings.Count(s, " ") >= maxTokens {
		return nil, fault.New(fault.KindInvalid, fault.CodeInvalidScope, "at most %d scopes can be asked for", maxTokens)
	}
	var out []string
	for name := range strings.SplitSeq(s, " ") {
		if !ValidPermission(name) {
			return nil, fault.New(fault.KindInvalid, fault.CodeInvalidScope, "scope must be names of permissions between single spaces")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
