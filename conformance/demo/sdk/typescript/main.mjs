// The story of one agent by the TypeScript SDK. The administrator comes from a
// profile: start `make run` in one terminal, and in another
//
//   XDG_CONFIG_HOME=.marque node conformance/demo/sdk/typescript/main.mjs
//
// In a project of yours: npm install @marque/sdk, and import from "@marque/sdk/node".

import { createServer } from "node:http";
import {
  AuthenticationError,
  Marque,
  principalOf,
  protect,
  Verifier,
} from "../../../../sdks/typescript/dist/node/index.js";

const audience = "https://orders.example.com";

const operator = new Marque();
const undo = [];
try {
  await story();
} finally {
  for (const step of undo.reverse()) await step();
}

async function story() {
  const { service_account: me } = await operator.whoami.get();
  say("operator", `is ${me.name}`);

  const api = await operator.resourceServers.create({
    identifier: audience,
    name: "orders",
    permissions: [{ name: "orders:read" }, { name: "orders:write" }],
  });
  undo.push(() => operator.resourceServers.delete(api.id));
  say("operator", `registers the API ${api.identifier}`);

  const permissions = [{ resource_server: api.id, permission: "orders:read" }];
  const role = await operator.roles.create({ name: "orders-reader", permissions });
  undo.push(() => operator.roles.delete(role.id));
  const account = await operator.serviceAccounts.create({ name: "orders-agent", owner: "alice@example.com" });
  undo.push(() => operator.serviceAccounts.delete(account.id));
  await operator.roleAssignments.put(account.id, role.id);
  const { client_secret: first } = await operator.clientSecrets.create(account.id);
  say("operator", `registers ${account.name}, whose role ${role.name} gives it orders:read`);

  const url = await serve();
  await call(signIn(account.id, first), "GET", url);
  await call(signIn(account.id, first), "POST", url);

  const { client_secret: second } = await operator.clientSecrets.rotate(account.id, { overlap: 0 });
  say("operator", "rotates the secret of the agent, and the agent signs in with the new one");
  const agent = signIn(account.id, second);
  await call(agent, "GET", url);

  const { token } = await agent.accessToken({ resource: audience });
  say("operator", `asks about the token of the agent: active ${(await operator.tokens.introspect({ token })).active}`);
  await operator.tokens.revoke({ token });
  say("operator", `revokes it: active ${(await operator.tokens.introspect({ token })).active}`);

  const { status } = await operator.serviceAccounts.disable(account.id);
  say("operator", `stops the agent: ${status}`);
  try {
    await signIn(account.id, second).accessToken({ resource: audience });
  } catch (error) {
    if (!(error instanceof AuthenticationError)) throw error;
    say("agent", `gets no token: ${error.kind} error, ${error.status} ${error.code}`);
  }
}

/** The client of the agent. It asks for a token when it needs one. */
function signIn(clientId, clientSecret) {
  return new Marque({ clientId, clientSecret });
}

/** Sends a request of the agent, which carries a token for the API. */
async function call(agent, method, url) {
  const fetch = agent.fetchFor({ resource: audience, origins: [url] });
  const response = await fetch(url, { method });
  const text = response.ok ? await response.text() : (await response.json()).code;
  say("agent", `${method} /orders: ${response.status} ${text}`);
}

/** Starts the API. It checks tokens by itself, with the published keys. */
async function serve() {
  const verifier = new Verifier({ audience });
  const server = createServer((request, response) => {
    const scopes = [request.method === "GET" ? "orders:read" : "orders:write"];
    const orders = () => response.end(`orders for ${principalOf(request).subject}`);
    protect(verifier, { scopes })(request, response, orders);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  undo.push(() => server.close());
  return `http://127.0.0.1:${server.address().port}/orders`;
}

function say(who, text) {
  console.log(who.padEnd(9), text);
}
