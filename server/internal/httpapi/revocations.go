package httpapi

import (
	"context"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/feed"
	"github.com/marque-id/marque/server/internal/identity"
)

// RevocationsCreate stops a token, an account or a credential.
func (s *server) RevocationsCreate(ctx context.Context, r api.RevocationsCreateRequestObject) (api.RevocationsCreateResponseObject, error) {
	k := callOf(ctx)
	stop, err := stopOf(r.Body, s.Tokens.Read)
	if err != nil {
		return nil, err
	}
	stopped, err := s.Directory.Revoke(ctx, k.caller, k.meta, stop)
	if err != nil {
		return nil, err
	}
	return api.RevocationsCreate200JSONResponse(toRevocationReport(stopped)), nil
}

// RevocationsSnapshot answers with everything that is revoked.
func (s *server) RevocationsSnapshot(ctx context.Context, r api.RevocationsSnapshotRequestObject) (api.RevocationsSnapshotResponseObject, error) {
	audience := value(r.Params.Audience)
	if err := s.Directory.KnownAudience(ctx, audience); err != nil {
		return nil, err
	}
	found, err := s.Feed.Snapshot(audience)
	if err != nil {
		return nil, err
	}
	return snapshotted{found, s}, nil
}

// RevocationsFeed lets the caller follow what is revoked.
func (s *server) RevocationsFeed(ctx context.Context, r api.RevocationsFeedRequestObject) (api.RevocationsFeedResponseObject, error) {
	k, audience := callOf(ctx), value(r.Params.Audience)
	caller, address := k.caller, k.meta.Address // the stream outlives the call
	if err := s.Directory.KnownAudience(ctx, audience); err != nil {
		return nil, err
	}
	follower, err := s.Feed.Follow(ctx, feed.Request{
		Account: caller.ClientID, ExpiresAt: caller.ExpiresAt, Audience: audience, From: positionOf(r.Params.LastEventID),
		Still: func(ctx context.Context) error {
			// All that a new call by the same token would be asked.
			now, err := s.Checker.Still(ctx, caller, identity.PermRevocationsRead)
			if err != nil {
				return err
			}
			return s.Grants.AdmitBearer(now, address)
		},
	})
	if err != nil {
		return nil, err
	}
	return followed{follower, s}, nil
}

// positionOf reads Last-Event-ID; negative where there is none.
func positionOf(id *api.RevocationPosition) int64 {
	if id == nil {
		return -1
	}
	n, err := strconv.ParseInt(*id, 10, 64)
	if err != nil { // the contract's pattern has seen to it that this cannot be
		return -1
	}
	return n
}

// snapshotted is everything that is revoked. Its entity tag is weak: what has
// expired may be in it or not, and it may be compressed or not.
type snapshotted struct {
	*feed.Snapshot
	server *server
}

// largeAnswer is from what size on an answer may take longer to send than the
// time that clients have for it.
const largeAnswer = 256 << 10

// VisitRevocationsSnapshotResponse sends it, or 304 to who has it already.
func (r snapshotted) VisitRevocationsSnapshotResponse(c *fiber.Ctx) error {
	etag := etagOf(r.Position)
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	c.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	c.Set(fiber.HeaderETag, "W/"+etag)
	if tags := c.Get(fiber.HeaderIfNoneMatch); tags != "" && !noneMatch(tags, etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	if acceptsGzip(c.Get(fiber.HeaderAcceptEncoding)) {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		if len(r.Compressed) < largeAnswer {
			c.Response().SetBodyRaw(r.Compressed)
			return nil
		}
		c.Response().SetBodyStream(r.server.patiently(c, r.Packed()), len(r.Compressed))
		return nil
	}
	body, err := r.JSON()
	if err != nil {
		return err
	}
	c.Response().SetBodyStream(r.server.patiently(c, body), -1)
	return nil
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func acceptsGzip(accept string) bool {
	for coding := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}

// followed is a stream of events.
type followed struct {
	*feed.Follower
	server *server
}

// VisitRevocationsFeedResponse begins the stream. The body is a reader, which
// fasthttp sends from on the goroutine of the connection after the handler has
// returned: nothing in it may know the *fiber.Ctx, which is somebody else's by
// then. When the stream ends the connection does, so that a server that stops has
// nobody to wait for.
func (r followed) VisitRevocationsFeedResponse(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no") // proxies would gather events
	c.Response().SetConnectionClose()
	c.Response().SetBodyStream(r.server.patiently(c, r.Follower), -1)
	return nil
}
