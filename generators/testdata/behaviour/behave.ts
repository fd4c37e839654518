// Uses generated code of the TypeScript SDK against scripted replies and prints
// what it saw and what went over the wire.

import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { ClientSecretCredential, Marque, ServiceAccountStatus } from "./index.js";

const replies: Record<string, unknown> = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"));
const wire: string[] = [];

function line(method: string, url: URL, headers: Headers, body: string): string {
  url.searchParams.sort();
  const parts = [method, url.pathname + url.search, headers.get("authorization")?.split(" ")[0] ?? ""];
  const match = headers.get("if-match");
  if (match !== null) parts.push(match);
  if (body !== "") {
    const type = headers.get("content-type") ?? "";
    parts.push(type, body.startsWith("{") ? sorted(JSON.parse(body)) : body);
  }
  return parts.join(" ");
}

function sorted(value: object): string {
  return JSON.stringify(value, (_, inner) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort())
      : inner,
  );
}

async function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const url = new URL(request.url);
  const page = url.searchParams.get("page_token");
  const key = `${request.method} ${url.pathname}${page === null ? "" : ` ${page}`}`;
  if (!(key in replies)) throw new Error(`no reply to ${key}`);
  if (url.pathname !== "/oauth2/token") wire.push(line(request.method, url, request.headers, await request.text()));
  return replies[key] === null ? new Response(null, { status: 204 }) : Response.json(replies[key]);
}

const client = new Marque({
  issuer: "https://marque.test",
  credential: new ClientSecretCredential("sa_0", "mqs_0"),
  fetch,
});
const accounts: string[] = [];
for await (const account of client.serviceAccounts.list({
  status: ServiceAccountStatus.active,
  label: ["a=b", "c=d"],
})) {
  accounts.push(account.id);
}
const page = await client.serviceAccounts.list({ page_size: 1 }).first();
const account = await client.serviceAccounts.update(
  "sa_1",
  { owner: "o", display_name: null, labels: { a: null, b: "c" } },
  { ifMatch: '"v1"' },
);
const issued = await client.clientSecrets.create("sa_1", { expires_at: "2027-01-02T03:04:05Z" });
const shown = `${inspect(issued, { depth: 9, showHidden: true })} ${JSON.stringify(issued)}`;
await client.roleAssignments.delete("sa_1", "role_1");
const introspection = await client.tokens.introspect({ token: "tok" });
const greeting = await client.serviceAccounts.greet("sa_1", { words: "good day" });
const seen = {
  accounts,
  page_token: page.nextPageToken,
  kind: account.kind,
  expires_at: account.expires_at ?? null,
  nickname: account.nickname,
  hidden: !shown.includes("mqs_text"),
  revealed: issued.client_secret.reveal(),
  active: introspection.active,
  greeting: greeting.words,
};
console.log(JSON.stringify({ seen, wire }));
