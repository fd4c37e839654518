package directory

// LimitCascade makes the bound of a cascade one that a test can reach.
func (s *Service) LimitCascade(n int) { s.cascade = n }
