/** A verifier of a fake server. */

import assert from "node:assert/strict";
import { VerificationError, Verifier, type VerifierOptions } from "../../src/index.js";
import { FakeClock, type FakeServer, ISSUER } from "./fakes.js";
import { AUDIENCE } from "./tokens.js";

export function verifierOf(server: FakeServer, options: Partial<VerifierOptions> = {}) {
  const clock = new FakeClock();
  const verifier = new Verifier({ issuer: ISSUER, audience: AUDIENCE, fetch: server.fetch, clock, ...options });
  return { verifier, clock };
}

/** Why a token is refused; "accepted" if it is not. */
export async function verdict(verifier: Verifier, token: string): Promise<string> {
  try {
    await verifier.verify(token);
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof VerificationError, String(error));
    assert.equal(error.status, 401);
    assert.match(error.wwwAuthenticate, /^Bearer error="invalid_token"/);
    return error.code;
  }
}
