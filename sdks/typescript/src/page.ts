/** Lists that come in pages. */

import { ProtocolError } from "./errors.js";
import type { ResponseInfo, WithResponse } from "./reply.js";

/** The wire form of a page: every list operation answers with it. */
export interface PageBody<T> {
  items: T[];
  next_page_token?: string;
}

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Gives the next page, also to a later process; absent on the last one. */
  readonly nextPageToken: string | undefined;
  readonly response: ResponseInfo;
}

type FetchPage<T> = (pageToken: string | undefined) => Promise<WithResponse<PageBody<T>>>;

/**
 * A list, fetched page by page while it is iterated:
 * `for await (const account of client.serviceAccounts.list())`.
 * Each iteration begins anew.
 */
export class Pages<T> implements AsyncIterable<T> {
  readonly #fetch: FetchPage<T>;

  /** @internal */
  constructor(fetch: FetchPage<T>) {
    this.#fetch = fetch;
  }

  /** Item by item. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* page.items;
  }

  /** Page by page. */
  async *pages(): AsyncGenerator<Page<T>, void, undefined> {
    let token: string | undefined;
    do {
      const page: Page<T> = await this.#page(token);
      if (page.nextPageToken !== undefined && page.nextPageToken === token) {
        throw new ProtocolError("the server gave the same next_page_token twice: the list would never end");
      }
      yield page;
      token = page.nextPageToken;
    } while (token !== undefined);
  }

  /** The first page alone, or the one that `page_token` of the call names. */
  first(): Promise<Page<T>> {
    return this.#page(undefined);
  }

  /** All items, in memory: for lists that are known to be short. */
  async all(): Promise<T[]> {
    const items: T[] = [];
    for await (const item of this) items.push(item);
    return items;
  }

  async #page(token: string | undefined): Promise<Page<T>> {
    const { data, response } = await this.#fetch(token);
    if (!Array.isArray(data?.items)) throw new ProtocolError("the answer is no page of a list: it has no items");
    return { items: data.items, nextPageToken: data.next_page_token || undefined, response };
  }
}
