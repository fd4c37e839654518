// A server of one's own, and an agent with a role at an API.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const AUDIENCE = "https://invoices.example.com";

const binary = process.env.MARQUE_BINARY ?? fileURLToPath(new URL("../../../../bin/marque", import.meta.url));

/** Variables without any of Marque's, so that a test sees only what it sets. */
export function environment(more) {
  const bare = Object.entries(process.env).filter(([name]) => !name.startsWith("MARQUE_"));
  return { ...Object.fromEntries(bare), ...more };
}

/** Starts a program and waits for a line of its output that matches. */
export async function start(command, args, env, line) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
  let log = "";
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  const stop = async () => {
    if (child.exitCode !== null) return;
    child.kill();
    await once(child, "exit");
  };
  for await (const text of createInterface({ input: child.stdout })) {
    const match = line.exec(text);
    if (!match) continue;
    child.stdout.resume(); // a full pipe would stop it
    return { match, stop };
  }
  throw new Error(`${command} ${args.join(" ")} ended before it said ${line}:\n${log}`);
}

/** A development server with its data in a directory of its own. */
export async function startServer() {
  if (!existsSync(binary)) throw new Error(`there is no ${binary}: run make build in the root of the repository`);
  const dir = mkdtempSync(join(tmpdir(), "marque-sdk-"));
  const args = ["serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0"];
  const server = await start(binary, args, environment(), /serving (https:\S+)/);
  return { dir, issuer: server.match[1], caFile: join(dir, "ca.pem"), stop: server.stop };
}

/** Registers the API of the examples, and an agent that may read invoices and replace its own secret. */
export async function register(marque, server) {
  const api = await marque.resourceServers.create({
    identifier: AUDIENCE,
    name: "invoices",
    permissions: [{ name: "invoices:read" }, { name: "invoices:write" }],
  });
  const management = (await marque.resourceServers.list().all()).find((one) => one.identifier !== AUDIENCE);
  const role = await marque.roles.create({
    name: "invoice-clerk",
    permissions: [
      { resource_server: api.id, permission: "invoices:read" },
      { resource_server: management.id, permission: "credentials:write" },
    ],
  });
  const agent = await marque.serviceAccounts.create({
    name: "invoice-clerk",
    kind: "agent",
    owner: "alice@example.com",
  });
  await marque.roleAssignments.put(agent.id, role.id);
  const issued = await marque.clientSecrets.create(agent.id);
  const secretFile = join(server.dir, "agent-secret");
  writeFileSync(secretFile, issued.client_secret.reveal(), { mode: 0o600 });
  const key = await marque.apiKeys.create(agent.id, { name: "the example" });
  const keyFile = join(server.dir, "agent-key");
  writeFileSync(keyFile, `${key.api_key.reveal()}\n`, { mode: 0o600 });
  return {
    clientId: agent.id,
    secretFile,
    byKey: environment({ MARQUE_ISSUER: server.issuer, MARQUE_CA_FILE: server.caFile, AGENT_KEY_FILE: keyFile }),
    variables: environment({
      MARQUE_ISSUER: server.issuer,
      MARQUE_CA_FILE: server.caFile,
      MARQUE_CLIENT_ID: agent.id,
      MARQUE_CLIENT_SECRET_FILE: secretFile,
    }),
  };
}
