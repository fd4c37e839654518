package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/grant"
)

// AuthorizationsExplain says why a request was or would be refused.
func (s *server) AuthorizationsExplain(ctx context.Context, r api.AuthorizationsExplainRequestObject) (api.AuthorizationsExplainResponseObject, error) {
	requestID, question, err := authorizationQuestion(r.Body)
	if err != nil {
		return nil, err
	}
	var found *grant.Explanation
	if requestID != "" {
		found, err = s.Grants.ExplainRequest(ctx, requestID)
	} else {
		found, err = s.Grants.Explain(ctx, question)
	}
	if err != nil {
		return nil, err
	}
	return api.AuthorizationsExplain200JSONResponse(toExplanation(found)), nil
}
