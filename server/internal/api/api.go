// Package api is generated from openapi.yaml: the types of the contract, the
// strict server interface with its routes, and the contract itself as embedded
// JSON. Nothing in it is written by hand but this file.
package api

//go:generate go tool oapi-codegen -config config.yaml ../../../openapi.yaml
