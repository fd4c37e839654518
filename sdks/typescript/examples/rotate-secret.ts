// An agent replaces its own client secret. Its role has credentials:write.

import { rename, writeFile } from "node:fs/promises";
import { Marque } from "@marque/sdk/node";

const file = process.env.MARQUE_CLIENT_SECRET_FILE ?? "client-secret";

const marque = new Marque();
const { service_account } = await marque.whoami.get();
const issued = await marque.clientSecrets.rotate(service_account.id, { overlap: 3600 });

// Whoever reads the file sees the old secret or the new one, never half of one.
await writeFile(`${file}.new`, issued.client_secret.reveal(), { mode: 0o600 });
await rename(`${file}.new`, file);

await new Marque().whoami.get(); // signs in with the new one
console.log(`the secret is now ${issued.id}, which ends in ${issued.hint}; the old one works for an hour more`);
