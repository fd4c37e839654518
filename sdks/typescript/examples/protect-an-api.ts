// An API that lets in whoever has a token for it. MARQUE_ISSUER says whose tokens.

import { principalOf, protect, Verifier } from "@marque/sdk/node";
import express from "express";

const verifier = new Verifier({ audience: "https://invoices.example.com" });

const app = express();
app.get("/v1/invoices", protect(verifier, { scopes: ["invoices:read"] }), (request, response) => {
  response.json({ invoices: [], caller: principalOf(request).subject });
});

const server = app.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log("listening on", server.address());
});
