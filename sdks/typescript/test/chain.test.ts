import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Marque as BrowserMarque, ConfigurationError, type MarqueError } from "../src/index.js";
import { Marque, type NodeMarqueOptions } from "../src/node/index.js";
import { FakeServer, ISSUER, token } from "./support/fakes.js";

const OTHER = "https://other.example.com";

/** A directory to find profiles in. */
function configured(profiles: object | string, mode = 0o600): { dir: string; file: string } {
  const dir = mkdtempSync(join(tmpdir(), "marque-"));
  mkdirSync(join(dir, "marque"));
  const file = join(dir, "marque", "config.json");
  writeFileSync(file, typeof profiles === "string" ? profiles : JSON.stringify(profiles));
  chmodSync(file, mode);
  return { dir, file };
}

const dev = { current: "dev", profiles: { dev: { issuer: ISSUER, client_id: "sa_p", client_secret_file: "secret" } } };
const empty = mkdtempSync(join(tmpdir(), "marque-"));

function make(environment: Record<string, string>, options: NodeMarqueOptions = {}) {
  const server = new FakeServer({ "POST /oauth2/token": token("t1", 1) });
  const client = new Marque({
    environment: { XDG_CONFIG_HOME: empty, ...environment },
    fetch: server.fetch,
    ...options,
  });
  const credential = async () => {
    await client.accessToken();
    const header = server.sent.at(-1)?.headers.get("authorization") ?? "";
    return `${server.sent.at(-1)?.url.origin} ${atob(header.slice(6))}`;
  };
  return { client, credential };
}

function refusal(environment: Record<string, string>, options: NodeMarqueOptions = {}): string {
  try {
    make(environment, options);
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error.message;
  }
  return assert.fail("it was accepted");
}

const variables = { MARQUE_ISSUER: OTHER, MARQUE_CLIENT_ID: "sa_e", MARQUE_CLIENT_SECRET: "mqs_e" };

test("the constructor comes before the environment, which comes before the profile", async () => {
  const { dir } = configured(dev);
  writeFileSync(join(dir, "marque", "secret"), "mqs_p\n");
  const given = { issuer: "https://c.example.com", clientId: "sa_c", clientSecret: "mqs_c" };
  const around = { XDG_CONFIG_HOME: dir, ...variables };
  assert.equal(await make(around, given).credential(), "https://c.example.com sa_c:mqs_c");
  assert.equal(await make(around).credential(), `${OTHER} sa_e:mqs_e`);
  assert.equal(await make({ XDG_CONFIG_HOME: dir }).credential(), `${ISSUER} sa_p:mqs_p`);
});

test("a profile that the constructor names comes before the environment", async () => {
  const { dir } = configured(dev);
  writeFileSync(join(dir, "marque", "secret"), "mqs_p");
  const { credential } = make({ XDG_CONFIG_HOME: dir, ...variables }, { profile: "dev" });
  assert.equal(await credential(), `${ISSUER} sa_p:mqs_p`);
});

test("MARQUE_PROFILE chooses a profile, and must name one that is there", async () => {
  const profiles = { ...dev.profiles, second: { ...dev.profiles.dev, client_id: "sa_2" } };
  const { dir } = configured({ current: "dev", profiles });
  writeFileSync(join(dir, "marque", "secret"), "mqs_p");
  assert.equal(await make({ XDG_CONFIG_HOME: dir, MARQUE_PROFILE: "second" }).credential(), `${ISSUER} sa_2:mqs_p`);
  assert.match(refusal({ XDG_CONFIG_HOME: dir, MARQUE_PROFILE: "third" }), /has no profile third/);
  assert.match(refusal({ MARQUE_PROFILE: "dev" }), /there is no .*config\.json/);
});

test("a secret file is read at each use", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "marque-")), "secret");
  const { MARQUE_CLIENT_SECRET: _, ...around } = variables;
  writeFileSync(file, "mqs_old\n");
  const { credential } = make({ ...around, MARQUE_CLIENT_SECRET_FILE: file });
  assert.equal(await credential(), `${OTHER} sa_e:mqs_old`);
  writeFileSync(file, "mqs_new\n");
  const again = make({ ...around, MARQUE_CLIENT_SECRET_FILE: file });
  assert.equal(await again.credential(), `${OTHER} sa_e:mqs_new`);
  writeFileSync(file, "mqs_newest");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(
    await make({}, { issuer: OTHER, clientId: "sa_e", clientSecretFile: file }).credential(),
    `${OTHER} sa_e:mqs_newest`,
  );
  writeFileSync(file, "\n");
  await assert.rejects(make({ ...around, MARQUE_CLIENT_SECRET_FILE: file }).credential(), { kind: "configuration" });
  await assert.rejects(
    make({ ...around, MARQUE_CLIENT_SECRET_FILE: `${file}.not` }).credential(),
    (error: MarqueError) => {
      assert.match(error.message, /cannot be read from .*: ENOENT/);
      return true;
    },
  );
});

test("where nothing is found, each source that was tried is named", () => {
  const message = refusal({ MARQUE_ISSUER: ISSUER });
  assert.match(message, /the constructor: no clientId/);
  assert.match(message, /MARQUE_CLIENT_ID is not set/);
  assert.match(message, /there is no .*marque\/config\.json/);
  assert.match(refusal({}), /no issuer/);
});

test("half of a credential, or two of them, is an error and not a reason to look elsewhere", () => {
  assert.match(refusal({ MARQUE_ISSUER: ISSUER, MARQUE_CLIENT_ID: "sa_e" }), /neither MARQUE_CLIENT_SECRET nor/);
  assert.match(refusal({ MARQUE_ISSUER: ISSUER, MARQUE_CLIENT_SECRET: "mqs_e" }), /no MARQUE_CLIENT_ID/);
  assert.match(refusal({ ...variables, MARQUE_CLIENT_SECRET_FILE: "/x" }), /unset one/);
  assert.match(refusal({ MARQUE_ISSUER: ISSUER, MARQUE_KEY_FILE: "/x" }), /by client secret or API key only/);
  assert.match(refusal(variables, { clientId: "sa_c" }), /no clientSecret/);
  assert.match(refusal(variables, { clientSecret: "mqs_c" }), /no clientId/);
  assert.match(refusal(variables, { clientId: "a", clientSecret: "b", clientSecretFile: "c" }), /one of them/);
});

test("a profile's secret is not sent to another issuer than the profile's", () => {
  const { dir } = configured(dev);
  assert.match(refusal({ XDG_CONFIG_HOME: dir, MARQUE_ISSUER: OTHER }), /it is for the issuer https:\/\/auth/);
});

test("a client that is made without a credential does not take that of the profile", async () => {
  const { dir } = configured(dev);
  writeFileSync(join(dir, "marque", "secret"), "mqs_p");
  const { client } = make({ XDG_CONFIG_HOME: dir }, { credential: null });
  assert.equal(client.issuer, ISSUER);
  await assert.rejects(client.accessToken(), { kind: "configuration" });
});

test("a profile that is named is read even where the constructor has the rest", () => {
  const { dir } = configured({ profiles: { dev: { issuer: ISSUER, ca_file: "not-there.pem" } } });
  const options = { issuer: ISSUER, clientId: "a", clientSecret: "b", profile: "dev" };
  const build = () => new Marque({ environment: { XDG_CONFIG_HOME: dir }, ...options });
  assert.throws(build, { kind: "configuration", message: /not-there\.pem/ });
});

test("a profile that others have access to, or that is broken, is refused with the fix", () => {
  const open = configured(dev, 0o644);
  assert.match(refusal({ XDG_CONFIG_HOME: open.dir }), /chmod 600/);
  for (const text of ["{", "[]", '{"current":"dev"}', "null"]) {
    assert.match(refusal({ XDG_CONFIG_HOME: configured(text).dir }), /is not \{"current": NAME/, text);
  }
  const odd = configured({ current: "dev", profiles: { dev: { issuer: 7 } } });
  assert.match(refusal({ XDG_CONFIG_HOME: odd.dir }), /issuer of the profile dev .* is not a text/);
  const unnamed = configured({ profiles: dev.profiles });
  assert.match(refusal({ XDG_CONFIG_HOME: unnamed.dir, MARQUE_ISSUER: ISSUER }), /names no current one/);
});

test("a CA file must be there and be one", () => {
  const file = join(mkdtempSync(join(tmpdir(), "marque-")), "ca.pem");
  const ca = (caFile: string) => () => new Marque({ issuer: ISSUER, clientId: "a", clientSecret: "b", caFile });
  assert.throws(ca(file), { kind: "configuration", message: /cannot be read/ });
  writeFileSync(file, "hello");
  assert.throws(ca(file), { kind: "configuration", message: /no certificate in PEM form/ });
});

test("without files, the environment works and files are said to need Node", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1") });
  const browser = new BrowserMarque({ environment: variables, fetch: server.fetch });
  assert.equal((await browser.accessToken()).token.reveal(), "t1");
  const { MARQUE_CLIENT_SECRET: _, ...around } = variables;
  const make = (environment: Record<string, string>) => () => new BrowserMarque({ environment });
  assert.throws(make({ ...around, MARQUE_CLIENT_SECRET_FILE: "/x" }), { message: /needs @marque\/sdk\/node/ });
  assert.throws(make({ MARQUE_ISSUER: ISSUER }), { message: /profiles: reading files needs @marque\/sdk\/node/ });
});
