// How much of a bundle the verifier takes, and the whole of the SDK.

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const entries = {
  verifier: 'export { Verifier } from "./dist/index.js";',
  "verifier and guard": 'export { guard, Verifier } from "./dist/index.js";',
  client: 'export { Marque } from "./dist/index.js";',
};
for (const [name, contents] of Object.entries(entries)) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL("..", import.meta.url)) },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser", // fails on anything of Node
    target: "es2022",
  });
  const [{ contents: bytes }] = outputFiles;
  console.log(`typescript bundle of ${name}`.padEnd(42), `${bytes.length} bytes, ${gzipSync(bytes).length} compressed`);
}
