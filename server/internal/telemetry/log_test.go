package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/telemetry"
)

func TestARecordIsOneLineAndMasksSecrets(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		var b bytes.Buffer
		log := telemetry.Logger(&b, slog.LevelInfo, format)
		log.Debug("not this one")
		log.Info("two\nlines", slog.Any("secret", identity.NewSecretValue("hunter2")))
		text := b.String()
		if strings.Count(text, "\n") != 1 || strings.Contains(text, "hunter2") || !strings.Contains(text, "[secret]") {
			t.Errorf("%s: %q", format, text)
		}
		var record struct{ Time, Level, Msg string }
		if format == "json" && (json.Unmarshal(b.Bytes(), &record) != nil || !strings.HasSuffix(record.Time, "Z") || record.Level != "INFO") {
			t.Errorf("%s: %q", format, text)
		}
	}
}
