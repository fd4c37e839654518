/** `@marque/sdk` with what Node has beyond browsers: CA file, client certificate, profiles, secret files. */

export * from "../index.js";
export { Marque, type NodeMarqueOptions, type NodeVerifierOptions, Verifier } from "./client.js";
export { createFetch, type TlsOptions } from "./fetch.js";
