package directory

import (
	"context"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// firstKey makes the first key of an algorithm that nobody has asked for yet;
// nil when it has keys. It comes before the transaction, which must stay short.
func (s *Service) firstKey(alg string) (*store.SigningKey, error) {
	if s.keys.Uses(alg) {
		return nil, nil
	}
	return s.keys.NewKey(alg)
}

// chooseAlgorithm makes sure that the algorithm of the resource server has keys.
// Until the first one is ready its tokens are signed as before.
func (s *Service) chooseAlgorithm(
	ctx context.Context, tx *store.Tx, caller *token.Caller, meta Meta, rs *identity.ResourceServer, before string, first *store.SigningKey,
) error {
	alg := rs.SigningAlg
	prepared, signs, err := s.keys.Prepare(ctx, tx, alg, first)
	if err != nil {
		return err
	}
	rs.SigningAlgBefore = before
	if signs {
		rs.SigningAlgBefore = ""
	}
	if prepared != "" {
		e := event(caller, meta, "")
		e.Type, e.Subject, e.Details = described(keyring.CreatedEvent(alg, prepared))
		tx.Audit(e)
	}
	return nil
}

// inForce fills in which algorithm signs the tokens of a resource server now.
func (s *Service) inForce(rs *identity.ResourceServer) {
	rs.SigningAlgEffective = string(s.keys.Algorithm(rs.SigningAlg, rs.SigningAlgBefore))
}
