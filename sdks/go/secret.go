package marque

import (
	"fmt"
	"log/slog"
)

// Secret is a text that nothing prints by accident: fmt, slog and
// encoding/json all show "[secret]" instead. Reveal gives the text.
type Secret string

const masked = "[secret]"

// Reveal returns the text of the secret.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string { return masked }

// GoString hides the secret.
func (s Secret) GoString() string { return masked }

// Format hides the secret from every verb of fmt, %x and %q among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText hides the secret from encoding/json and other encoders. What is
// sent to Marque is written with Reveal, field by field.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
