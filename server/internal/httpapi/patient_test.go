package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"io"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/feed"
)

// A snapshot may take longer to send than WriteTimeout, as it is or compressed:
// sent as one body, it would be cut off in the middle at exactly that time.
func TestALargeSnapshotIsSentPatiently(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := io.CopyN(zip, rand.Reader, largeAnswer); err != nil {
		t.Fatal(err)
	}
	must(t, zip.Close())
	for _, accept := range []string{"", "gzip"} {
		app := fiber.New()
		c := app.AcquireCtx(&fasthttp.RequestCtx{})
		c.Request().Header.Set("Accept-Encoding", accept)
		s := snapshotted{&feed.Snapshot{Compressed: packed.Bytes()}, &server{Deps: Deps{WriteTimeout: time.Second}}}
		must(t, s.VisitRevocationsSnapshotResponse(c))
		if body, ok := c.Response().BodyStream().(*patient); !ok || body.timeout != time.Second {
			t.Errorf("Accept-Encoding %q: it is sent from a %T", accept, c.Response().BodyStream())
		}
		app.ReleaseCtx(c)
	}
}
