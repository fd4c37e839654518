// The package as it is published: installed from its tarball into a clean folder,
// where the examples are compiled and run against a running server.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { environment, register, start, startServer } from "./world.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const { version, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const versionOf = (name) => devDependencies[name];

let folder; // the clean one
let server;
let agent;
let sdk; // the installed module
let contents; // of the tarball

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "marque-clean-"));
  const packed = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], { cwd: root });
  // One entry, in a list or by its name: npm has changed its mind.
  const [entry] = Object.values(JSON.parse(packed.stdout));
  contents = entry.files.map(({ path }) => path);
  const dependencies = {
    "@marque/sdk": `file:./${entry.filename}`,
    ...Object.fromEntries(
      ["express", "@types/express", "@types/node", "typescript"].map((name) => [name, versionOf(name)]),
    ),
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund"], { cwd: folder });
  cpSync(join(root, "examples"), folder, { recursive: true });

  server = await startServer();
  sdk = await import(pathToFileURL(join(folder, "node_modules/@marque/sdk/dist/node/index.js")).href);
  const administrator = new sdk.Marque({ environment: { XDG_CONFIG_HOME: server.dir } });
  agent = await register(administrator, server);
});

after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
  if (server) rmSync(server.dir, { recursive: true, force: true });
});

const examples = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"));

/** Compiles what is in the clean folder, as a strict user would. */
async function compile(lib, files, ...more) {
  const options = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--target", "es2022"];
  const modules = ["--module", "nodenext", "--types", "node", "--lib", lib];
  const args = ["node_modules/typescript/bin/tsc", ...options, ...modules, ...more, ...files];
  await run(process.execPath, args, { cwd: folder }).catch((error) => assert.fail(error.stdout));
}

async function runExample(name, variables, ...args) {
  const { stdout } = await run(process.execPath, [join(folder, name), ...args], { cwd: folder, env: variables });
  return stdout;
}

test("the examples compile against the installed types, library checks included", async () => {
  await compile("es2022,dom,dom.iterable", examples);
});

test("the types do not need those of the browser", async () => {
  const file = join(folder, "server.ts");
  writeFileSync(file, 'import { Marque, Verifier } from "@marque/sdk/node";\nexport const all = [Marque, Verifier];\n');
  await compile("es2022", ["server.ts"], "--noEmit");
});

test("the tarball has what users need, and nothing of the tests", () => {
  const needed = ["LICENSE", "README.md", "CHANGELOG.md", "api.md", "dist/index.js", "dist/index.d.ts", "src/index.ts"];
  for (const file of needed) assert.ok(contents.includes(file), file);
  const odd = contents.filter((file) => !/^(?:dist|src)\/|^[A-Za-z]+\.md$|^LICENSE$|^package\.json$/.test(file));
  assert.deepEqual(odd, []);
});

test("it has no dependency, and is of the version that it says", () => {
  const installed = JSON.parse(readFileSync(join(folder, "node_modules/@marque/sdk/package.json"), "utf8"));
  assert.equal(installed.dependencies, undefined);
  assert.equal(installed.peerDependencies, undefined);
  assert.equal(sdk.VERSION, version);
  assert.match(readFileSync(join(root, "CHANGELOG.md"), "utf8"), new RegExp(`^## ${version}`, "m"));
});

test("an agent calls an API that is protected", async () => {
  const variables = { ...agent.variables, PORT: "0" };
  const api = await start(process.execPath, [join(folder, "protect-an-api.js")], variables, /port: (\d+)/);
  try {
    const url = `http://127.0.0.1:${api.match[1]}`;
    const output = await runExample("call-an-api.js", { ...agent.variables, INVOICES_URL: url });
    assert.equal(output, `200 {"invoices":[],"caller":"${agent.clientId}"}\n`);
    const byKey = { ...agent.byKey, INVOICES_URL: url };
    assert.equal(await runExample("sign-in-with-api-key.js", byKey), output);
    const bare = await fetch(`${url}/v1/invoices`);
    assert.deepEqual([bare.status, bare.headers.get("www-authenticate")], [401, "Bearer"]);
  } finally {
    await api.stop();
  }
});

test("client and verifier find everything in the profile of a development server", async () => {
  const variables = environment({ XDG_CONFIG_HOME: server.dir });
  const script = `
    import { Marque, Verifier } from "@marque/sdk/node";
    const { token } = await new Marque().accessToken({ resource: "urn:marque:management" });
    const principal = await new Verifier({ audience: "urn:marque:management" }).verify(token.reveal());
    console.log(principal.roles.join());`;
  writeFileSync(join(folder, "both.js"), script);
  assert.equal(await runExample("both.js", variables), "admin\n");
});

test("a client certificate is presented", async () => {
  const pem = (name) => join(server.dir, name);
  const [cert, key, ca] = ["server.pem", "server-key.pem", "ca.pem"].map((name) => readFileSync(pem(name)));
  const options = { cert, key, ca, requestCert: true, rejectUnauthorized: false };
  const listener = createServer(options, (request, response) => {
    response.end(request.socket.getPeerCertificate().fingerprint256 ?? "none");
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  try {
    const url = `https://localhost:${listener.address().port}`;
    const caFile = server.caFile;
    assert.equal(await (await sdk.createFetch({ caFile })(url)).text(), "none");
    const presenting = sdk.createFetch({ caFile, certFile: pem("server.pem"), keyFile: pem("server-key.pem") });
    assert.equal(await (await presenting(url)).text(), new X509Certificate(cert).fingerprint256);
  } finally {
    listener.closeAllConnections();
    listener.close();
  }
});

test("a worker is protected, with the platform's own fetch", async () => {
  const client = new sdk.Marque({ environment: agent.variables });
  const { token } = await client.accessToken({ resource: "https://invoices.example.com" });
  const script = `
    const { default: worker } = await import(${JSON.stringify(pathToFileURL(join(folder, "protect-a-worker.js")).href)});
    for (const authorization of ["Bearer " + process.env.TOKEN, "Bearer x"]) {
      const response = await worker.fetch(new Request("https://invoices.example.com/v1/invoices", { headers: { authorization } }));
      console.log(response.status, await response.text());
    }`;
  const variables = { ...agent.variables, NODE_EXTRA_CA_CERTS: server.caFile, TOKEN: token.reveal() };
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { env: variables });
  const [good, bad] = stdout.split("\n");
  assert.equal(good, `200 {"invoices":[],"caller":"${agent.clientId}"}`);
  assert.match(bad, /^401 .*invalid_token/);
});

test("an agent replaces its own secret", async () => {
  const old = readFileSync(agent.secretFile, "utf8");
  assert.match(
    await runExample("rotate-secret.js", agent.variables),
    /^the secret is now sec_\w+, which ends in \w{4}/,
  );
  const now = readFileSync(agent.secretFile, "utf8");
  assert.match(now, /^mqs_/);
  assert.notEqual(now, old);
});

test("a token that is stopped is refused at once", async () => {
  const output = await runExample("stop-at-once.js", environment({ XDG_CONFIG_HOME: server.dir }));
  const [, milliseconds] = /^after (\d+) ms: revoked\n$/.exec(output) ?? assert.fail(output);
  assert.ok(Number(milliseconds) < 1000, output);
});

test("pages and errors are as the example has them", async () => {
  const variables = environment({ XDG_CONFIG_HOME: server.dir });
  assert.match(
    await runExample("errors-and-pages.js", variables),
    /^sa_\w+ invoice-clerk\ncreated sa_\w+ "\d+" req_\w+\n$/,
  );
  assert.match(await runExample("errors-and-pages.js", variables), /there is one already req_\w+\n$/);
});

test("without the certificate authority the error says what to do", async () => {
  const { MARQUE_CA_FILE: _, ...variables } = agent.variables;
  const failed = await run(process.execPath, [join(folder, "call-an-api.js")], { env: variables }).catch(
    (error) => error,
  );
  assert.match(failed.stderr, /TlsError: the certificate of https:\/\/localhost:\d+ is not signed .*MARQUE_CA_FILE/);
  assert.ok(!failed.stderr.includes(readFileSync(agent.secretFile, "utf8")));
});

test("the code in the README is that of the examples", () => {
  const sources = examples.map((name) => readFileSync(join(root, "examples", name), "utf8"));
  const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)];
  assert.ok(blocks.length >= 3);
  for (const [, block] of blocks)
    assert.ok(
      sources.some((source) => source.includes(block)),
      `in no example:\n${block}`,
    );
});
