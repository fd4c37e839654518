package identity

// RequestKey is how a caller names a request, so that it is known again when it
// is sent again (the header Idempotency-Key). The zero RequestKey names nothing.
type RequestKey struct {
	Operation string   // the operationId; a key means nothing to another operation
	Key       string   // of the caller's choosing; "" is none
	Digest    [32]byte // of all that the request asks for
}
