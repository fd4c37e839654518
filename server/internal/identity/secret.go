package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"
)

// Secret is a value that must not be seen. It prints, logs and marshals as a
// mask; Reveal is the one way to its text.
//
// The text is behind a pointer because fmt calls no method on a value that it
// reaches through an unexported field: there it prints the address, not the
// text. Two Secrets are therefore not compared with ==, which a comparison of
// secrets must not be anyway.
type Secret struct{ text *string }

const secretMask = "[secret]"

// NewSecretValue wraps text that must not be seen.
func NewSecretValue(text string) Secret { return Secret{&text} }

// Reveal returns the text. Each call site is a place to review.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String gives the mask.
func (s Secret) String() string { return secretMask }

// Format gives the mask for every verb, the wrong ones (%d) included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secretMask)) }

// LogValue masks the secret in structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(secretMask) }

// MarshalText masks the secret in JSON, YAML and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(secretMask), nil }

// Client secrets and API keys are a prefix, 256 random bits as 43 characters of
// base62, and a CRC-32 of all that as 6 more. Secret scanners match the
// patterns; the checksum tells a typo from a wrong secret without a look-up and
// keeps false alarms away. It covers the prefix: one kind is never taken for the
// other.
const (
	ClientSecretPrefix  = "mqs_"
	ClientSecretPattern = `mqs_[0-9A-Za-z]{49}`
	APIKeyPrefix        = "mqk_"
	APIKeyPattern       = `mqk_[0-9A-Za-z]{49}`

	secretBodyLength     = 43
	secretChecksumLength = 6
	hintLength           = 4
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrMalformedSecret is a text that cannot be a secret of ours of that kind:
// wrong prefix, length, alphabet or checksum.
var ErrMalformedSecret = errors.New("identity: malformed secret")

// GenerateClientSecret makes a new client secret.
func GenerateClientSecret() Secret { return generate(ClientSecretPrefix) }

// GenerateAPIKey makes a new API key.
func GenerateAPIKey() Secret { return generate(APIKeyPrefix) }

func generate(prefix string) Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the process instead
	body := prefix + encodeBase62(new(big.Int).SetBytes(b[:]), secretBodyLength)
	return NewSecretValue(body + checksum(body))
}

// CheckClientSecret reports whether text has the form of a client secret.
func CheckClientSecret(text string) error { return checkForm(ClientSecretPrefix, text) }

// CheckAPIKey reports whether text has the form of an API key.
func CheckAPIKey(text string) error { return checkForm(APIKeyPrefix, text) }

func checkForm(prefix, text string) error {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) != secretBodyLength+secretChecksumLength {
		return ErrMalformedSecret
	}
	for i := range len(rest) {
		if strings.IndexByte(base62, rest[i]) < 0 {
			return ErrMalformedSecret
		}
	}
	body := text[:len(text)-secretChecksumLength]
	if checksum(body) != text[len(body):] {
		return ErrMalformedSecret
	}
	return nil
}

// Hint is what may be shown of a secret to tell it from its siblings: its last
// four characters. They are part of the checksum, so that they tell next to
// nothing about the random bits.
func Hint(s Secret) string {
	text := s.Reveal()
	return text[max(0, len(text)-hintLength):]
}

func checksum(body string) string {
	return encodeBase62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), secretChecksumLength)
}

func encodeBase62(n *big.Int, width int) string {
	out := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}
