/** A client of a fake server. */

import { resolve } from "../../src/chain.js";
import { Marque, type MarqueOptions } from "../../src/index.js";
import { Sender } from "../../src/sender.js";
import { TokenSource } from "../../src/tokensource.js";
import { Transport } from "../../src/transport.js";
import { FakeClock, type FakeServer, ISSUER } from "./fakes.js";

export const SECRET = "mqs_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghi";

export function clientOf(server: FakeServer, options: MarqueOptions = {}): { client: Marque; clock: FakeClock } {
  const clock = new FakeClock();
  const client = new Marque({
    issuer: ISSUER,
    clientId: "sa_1",
    clientSecret: SECRET,
    fetch: server.fetch,
    clock,
    environment: {},
    ...options,
  });
  return { client, clock };
}

/** What a client makes its calls with, for operations that the contract does not have. */
export function transportOf(server: FakeServer): Transport {
  const clock = new FakeClock();
  const { issuer, credential } = resolve(
    { issuer: ISSUER, clientId: "sa_1", clientSecret: SECRET },
    { environment: {} },
  );
  const [logger, windows] = [undefined, undefined];
  const sender = new Sender({
    issuer,
    fetch: server.fetch,
    clock,
    timeout: 30_000,
    tokenTimeout: 10_000,
    hooks: {},
    logger,
  });
  const tokens = new TokenSource({ sender, credential, clock, retries: 2, windows, logger });
  return new Transport({ sender, tokens, credential, clock, retries: 2 });
}
