// An agent signs in by an API key, which stands in a file, and calls an API. It
// needs no client id; MARQUE_ISSUER says where the key is from.

import { Marque } from "@marque/sdk/node";

const api = process.env.INVOICES_URL ?? "https://invoices.example.com";
const file = process.env.AGENT_KEY_FILE ?? "api-key";

const marque = new Marque({ apiKeyFile: file });
const invoices = marque.fetchFor({ resource: "https://invoices.example.com", origins: [api] });

const response = await invoices(`${api}/v1/invoices`);
console.log(response.status, await response.text());
