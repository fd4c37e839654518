// Package store keeps everything Marque must not forget, on PostgreSQL or on
// SQLite, through one code path. It is the only importer of bun and of the
// database drivers.
//
// Writes go through [Store.InTx]: one transaction, one timestamp, at least one
// audit event, committed together or not at all. Every issued or refused token
// goes through [Store.Record], which commits the events of concurrent requests
// as one batch and answers each only after its event is durable. The token path
// reads [Store.Principal], an immutable snapshot of an account held in memory;
// the changes table tells every node which snapshots to drop.
//
// Lock order, everywhere: the changes lock, then rows, then the head of the
// audit chain, which is the last row a transaction touches.
package store
