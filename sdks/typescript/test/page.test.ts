import assert from "node:assert/strict";
import { test } from "node:test";
import { clientOf } from "./support/client.js";
import { FakeServer, json, token } from "./support/fakes.js";

const path = "/v1/service-accounts";

function twoPages(): FakeServer {
  return new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${path}`]: ({ url }) =>
      url.searchParams.get("page_token") === "p2"
        ? json({ items: [{ id: "c" }] }, 200, { "x-request-id": "req_2" })
        : json({ items: [{ id: "a" }, { id: "b" }], next_page_token: "p2" }, 200, { "x-request-id": "req_1" }),
  });
}

test("a list is iterated item by item over its pages, with its filters on each", async () => {
  const server = twoPages();
  const ids: string[] = [];
  for await (const account of clientOf(server).client.serviceAccounts.list({ kind: "agent" })) ids.push(account.id);
  assert.deepEqual(ids, ["a", "b", "c"]);
  assert.deepEqual(
    server.to(path).map(({ url }) => url.search),
    ["?kind=agent", "?kind=agent&page_token=p2"],
  );
});

test("pages are reachable with their tokens and responses", async () => {
  const seen: unknown[] = [];
  for await (const page of clientOf(twoPages()).client.serviceAccounts.list().pages()) {
    seen.push([page.items.length, page.nextPageToken, page.response.requestId]);
  }
  assert.deepEqual(seen, [
    [2, "p2", "req_1"],
    [1, undefined, "req_2"],
  ]);
});

test("a later page is fetched only when it is reached", async () => {
  const server = twoPages();
  for await (const account of clientOf(server).client.serviceAccounts.list()) if (account.id === "b") break;
  assert.equal(server.to(path).length, 1);
});

test("a list can begin at a page of an earlier process", async () => {
  const { client } = clientOf(twoPages());
  const items = await client.serviceAccounts.list({ page_token: "p2" }).all();
  assert.deepEqual(items as unknown, [{ id: "c" }]);
});

test("a page token that leads to itself, and an answer that is no page, are errors", async () => {
  const circle = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${path}`]: json({ items: [{ id: "a" }], next_page_token: "p1" }),
  });
  await assert.rejects(clientOf(circle).client.serviceAccounts.list().all(), { kind: "protocol" });
  const other = new FakeServer({ "POST /oauth2/token": token("t1"), [`GET ${path}`]: json({ keys: [] }) });
  await assert.rejects(clientOf(other).client.serviceAccounts.list().all(), { kind: "protocol" });
});
