// An agent calls an API. It signs in with what the environment or a profile says:
// MARQUE_ISSUER, MARQUE_CLIENT_ID and MARQUE_CLIENT_SECRET_FILE.

import { Marque } from "@marque/sdk/node";

const api = process.env.INVOICES_URL ?? "https://invoices.example.com";

const marque = new Marque();
const invoices = marque.fetchFor({
  resource: "https://invoices.example.com", // the identifier of the API: the token's audience
  scopes: ["invoices:read"],
  origins: [api], // where it is served; nobody else gets the token
});

const response = await invoices(`${api}/v1/invoices`);
console.log(response.status, await response.text());
