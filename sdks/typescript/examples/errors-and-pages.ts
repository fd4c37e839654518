// What else the client gives: pages, responses, errors, deadlines.

import { ApiError, ErrorCode, Marque } from "@marque/sdk/node";

const marque = new Marque();

for await (const account of marque.serviceAccounts.list({ kind: "agent" })) {
  console.log(account.id, account.name);
}

const account = { name: "invoice-reader", kind: "agent", owner: "alice@example.com" };
const signal = AbortSignal.timeout(5_000);
try {
  const { data, response } = await marque.serviceAccounts.create(account, { signal }).withResponse();
  console.log("created", data.id, response.etag, response.requestId);
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.code !== ErrorCode.nameTaken) throw error;
  console.log("there is one already", error.requestId);
}
