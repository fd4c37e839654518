// Gets a token, stops it, and tells how long an API still takes it that follows what is revoked.
// The account in its environment needs the permissions tokens:revoke and revocations:read.

import { Marque, VerificationError, Verifier } from "@marque/sdk/node";

const audience = "urn:marque:management";

const marque = new Marque();
const revocations = marque.followRevocations();
const verifier = new Verifier({ audience, revocations });
await revocations.ready({ signal: AbortSignal.timeout(30_000) });

const { token } = await marque.accessToken({ resource: audience, scopes: ["audit:read"] });
await verifier.verify(token.reveal());
await marque.revocations.create({ token: token.reveal() });
const stopped = Date.now();
try {
  while (Date.now() < stopped + 30_000) {
    await verifier.verify(token.reveal());
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
} catch (error) {
  if (!(error instanceof VerificationError)) throw error;
  console.log(`after ${Date.now() - stopped} ms: ${error.code}`);
} finally {
  await revocations.close();
}
