/** The promise that every method returns, with the response one step away. */

/** What came with a result. The text may hold secrets: it is shown to who asks for it. */
export class ResponseInfo {
  /** The HTTP status. */
  readonly status: number;
  readonly headers: Headers;
  /** The server's name for this request, to be quoted to whoever operates it. */
  readonly requestId: string | undefined;
  /** The version of the resource, for `ifMatch`. */
  readonly etag: string | undefined;
  readonly #text: string;

  constructor(status: number, headers: Headers, text: string) {
    this.status = status;
    this.headers = headers;
    this.requestId = headers.get("x-request-id") ?? undefined;
    this.etag = headers.get("etag") ?? undefined;
    this.#text = text;
  }

  /** The body as it came. */
  text(): string {
    return this.#text;
  }
}

/** A result with its response. */
export interface WithResponse<T> {
  readonly data: T;
  readonly response: ResponseInfo;
}

/**
 * A promise of the decoded result; {@link Reply.withResponse} gives status,
 * headers and request id too.
 */
export class Reply<T> extends Promise<T> {
  #whole!: Promise<WithResponse<T>>;

  /** What `then` makes are plain promises. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  /** @internal */
  static from<T>(whole: Promise<WithResponse<T>>): Reply<T> {
    const reply = new Reply<T>((resolve, reject) => {
      whole.then(({ data }) => resolve(data), reject);
    });
    reply.#whole = whole;
    return reply;
  }

  /** The result with status, headers, request id and ETag. */
  withResponse(): Promise<WithResponse<T>> {
    this.catch(() => {}); // who asks for the whole is told of a failure there
    return this.#whole;
  }
}
