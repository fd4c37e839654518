import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { exchange } from "../src/http.js";
import { createFetch } from "../src/node/index.js";

const fetch = createFetch();

/** Runs a server for as long as `use` takes. */
async function serving(listener: RequestListener, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

/** Answers with what it was asked, as JSON. */
const echo: RequestListener = async (request, response) => {
  const { method, url, headers } = request;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ method, url, headers, body: await bodyOf(request) }));
};

test("the fetch on node:https sends what the platform's would", async () => {
  await serving(echo, async (url) => {
    const form = new URLSearchParams({ a: "1" });
    const posted = await (
      await fetch(`${url}/x?y=1`, { method: "POST", body: form, headers: { "X-Mine": "1" } })
    ).json();
    assert.deepEqual([posted.method, posted.url, posted.body], ["POST", "/x?y=1", "a=1"]);
    assert.equal(posted.headers["x-mine"], "1");
    assert.equal(posted.headers["content-length"], "3");
    assert.match(posted.headers["content-type"], /^application\/x-www-form-urlencoded/);
    assert.match(posted.headers["user-agent"], /^marque-typescript\//);
    const bodies = ["text", new TextEncoder().encode("text"), new Blob(["text"]), new Blob(["text"]).stream()];
    for (const body of bodies) {
      const init = { method: "PUT", body, duplex: "half" } as RequestInit;
      assert.equal((await (await fetch(new URL(url), init)).json()).body, "text");
    }
    const request = new Request(`${url}/z`, { method: "POST", body: "text" });
    assert.equal((await (await fetch(request)).json()).body, "text");
    const bare = await (await fetch(url)).json();
    assert.deepEqual([bare.method, bare.body], ["GET", ""]);
    const empty = await (await fetch(url, { method: "POST" })).json();
    assert.equal(empty.headers["content-length"], "0");
  });
});

test("connections are kept open", async () => {
  const ports = new Set<number | undefined>();
  const listener: RequestListener = (request, response) => {
    ports.add(request.socket.remotePort);
    response.statusCode = request.url === "/204" ? 204 : 200;
    response.end(request.url === "/204" ? undefined : "x");
  };
  await serving(listener, async (url) => {
    for (const path of ["/", "/204", "/"]) await (await fetch(url + path)).text();
  });
  assert.equal(ports.size, 1);
});

test("a redirect is a response, and headers that repeat are kept", async () => {
  const listener: RequestListener = (_, response) => {
    response.writeHead(302, { location: "/other", "set-cookie": ["a=1", "b=2"] });
    response.end();
  };
  await serving(listener, async (url) => {
    const response = await fetch(url);
    assert.deepEqual([response.status, response.headers.get("location")], [302, "/other"]);
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
  });
});

test("a signal ends a request that waits, and a body that flows", async () => {
  let reached = () => {};
  const listener: RequestListener = (request, response) => {
    if (request.url === "/flow") response.write("begun");
    reached();
  };
  await serving(listener, async (url) => {
    const arrived = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const first = new AbortController();
    const waiting = fetch(url, { signal: first.signal });
    await arrived;
    first.abort();
    await assert.rejects(waiting, { name: "AbortError" });
    const second = new AbortController();
    const flowing = await fetch(`${url}/flow`, { signal: second.signal });
    second.abort();
    await assert.rejects(flowing.text());
  });
});

test("what goes wrong on the wire has its kind", async () => {
  const cut: RequestListener = (request, response) => {
    if (request.url === "/reset") {
      request.socket.destroy();
      return;
    }
    response.writeHead(200, { "content-type": "application/json", "content-length": "100" });
    response.write('{"keys":', () => request.socket.destroy());
  };
  const ask = (url: string) => exchange(fetch, { method: "GET", url, headers: new Headers() }, { timeout: 5_000 });
  let gone = "";
  await serving(cut, async (url) => {
    await assert.rejects(ask(`${url}/reset`), { kind: "connection", retryable: true });
    await assert.rejects(ask(`${url}/cut`), { kind: "protocol", message: /cut off/ });
    gone = url;
  });
  await assert.rejects(ask(gone), { kind: "connection", message: /ECONNREFUSED/ });
  await serving(
    () => {},
    async (url) => {
      const request = { method: "GET", url, headers: new Headers() };
      await assert.rejects(exchange(fetch, request, { timeout: 5 }), { kind: "timeout" });
    },
  );
  await serving(echo, async (url) => {
    // Plain HTTP where TLS is spoken: the port is not Marque's.
    await assert.rejects(ask(url.replace("http:", "https:")), { kind: "tls", message: /is this the port/ });
  });
});

test("a certificate without its key is refused", () => {
  assert.throws(() => createFetch({ certFile: "/x" }), { kind: "configuration", message: /go together/ });
  assert.throws(() => createFetch({ keyFile: "/x" }), { kind: "configuration" });
});
