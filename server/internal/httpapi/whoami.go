package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
)

// WhoamiGet tells a caller who it is and what it may do.
func (s *server) WhoamiGet(ctx context.Context, _ api.WhoamiGetRequestObject) (api.WhoamiGetResponseObject, error) {
	who, err := s.Directory.GetWhoami(ctx, callOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return api.WhoamiGet200JSONResponse(toWhoami(who)), nil
}
