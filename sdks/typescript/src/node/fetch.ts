/**
 * A `fetch` on node:https, which takes a CA file and a client certificate: the
 * `fetch` of Node takes neither.
 */

import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent, type RequestOptions, request as tlsRequest } from "node:https";
import { Readable } from "node:stream";
import { ConfigurationError } from "../errors.js";
import type { Fetch } from "../http.js";
import { VERSION } from "../version.js";
import { read } from "./files.js";

/** What TLS needs to know. */
export interface TlsOptions {
  /** PEM file with the only authorities to trust. Default: those of Node. */
  caFile?: string | undefined;
  /** PEM file with the certificate to present, and its chain. */
  certFile?: string | undefined;
  /** PEM file with the private key of that certificate. */
  keyFile?: string | undefined;
}

/**
 * Makes a `fetch` that keeps its connections open. It follows no redirect: a 3xx
 * is a response like any other.
 */
export function createFetch(options: TlsOptions = {}): Fetch {
  const { caFile, certFile, keyFile } = options;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new ConfigurationError("certFile and keyFile go together: the certificate and its private key");
  }
  const ca = caFile === undefined ? undefined : read(caFile, "the certificate authority");
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----")) {
    throw new ConfigurationError(`${caFile} has no certificate in PEM form`);
  }
  const secure = new Agent({
    keepAlive: true,
    minVersion: "TLSv1.2",
    ...(ca === undefined ? {} : { ca }),
    ...(certFile === undefined ? {} : { cert: read(certFile, "the client certificate") }),
    ...(keyFile === undefined ? {} : { key: read(keyFile, "the key of the client certificate") }),
  });
  const plain = new PlainAgent({ keepAlive: true });

  return async (input, init) => {
    const request = new Request(input, init);
    if (!request.headers.has("user-agent")) request.headers.set("user-agent", `marque-typescript/${VERSION}`);
    // A stream is sent as it is read; anything else is small and has a length.
    const streamed = init?.body instanceof ReadableStream || (init?.body == null && input instanceof Request);
    const body = streamed ? request.body : request.body && Buffer.from(await request.arrayBuffer());
    return new Promise<Response>((resolve, reject) => {
      const { signal } = request;
      const options: RequestOptions = {
        method: request.method,
        headers: Object.fromEntries(request.headers),
        agent: request.url.startsWith("https:") ? secure : plain,
        signal,
      };
      const send = request.url.startsWith("https:") ? tlsRequest : plainRequest;
      const outgoing = send(request.url, options, (message) => resolve(toResponse(message)));
      outgoing.on("error", (error) => reject(signal.aborted ? signal.reason : error));
      if (body instanceof Buffer) outgoing.end(body);
      else if (body)
        Readable.fromWeb(body as never)
          .on("error", (error) => outgoing.destroy(error))
          .pipe(outgoing);
      else outgoing.end();
    });
  };
}

function toResponse(message: IncomingMessage): Response {
  const headers = new Headers();
  for (let i = 0; i + 1 < message.rawHeaders.length; i += 2) {
    headers.append(message.rawHeaders[i] as string, message.rawHeaders[i + 1] as string);
  }
  const status = message.statusCode ?? 500;
  const empty = status === 204 || status === 205 || status === 304;
  if (empty) message.resume(); // so that the connection can be used again
  const body = empty ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array>);
  return new Response(body, { status, statusText: message.statusMessage ?? "", headers });
}
