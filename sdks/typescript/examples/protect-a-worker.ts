// The same in a worker, or anything else that takes a fetch handler.

import { guard, Verifier } from "@marque/sdk";

const verifier = new Verifier({
  issuer: process.env.MARQUE_ISSUER ?? "https://auth.example.com",
  audience: "https://invoices.example.com",
});

export default {
  fetch: guard(verifier, (_request, principal) => Response.json({ invoices: [], caller: principal.subject }), {
    scopes: ["invoices:read"],
  }),
};
