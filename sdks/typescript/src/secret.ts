/** A text that is shown only to who asks for it by name. */

const MASK = "[secret]";

/**
 * Holds a secret. Printing, concatenating, serialising or inspecting it gives
 * `[secret]`; {@link Secret.reveal} gives the text.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. What is done with it from here on is up to the caller. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  get [Symbol.toStringTag](): string {
    return "Secret";
  }

  /** What `util.inspect` and `console.log` of Node show. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}

/** The text of a secret that may be given either way. */
export function reveal(secret: Secret | string): string {
  return typeof secret === "string" ? secret : secret.reveal();
}

/** A copy of a value in which every {@link Secret} is its text: for what goes over the wire. */
export function revealAll(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(revealAll);
  if (typeof value === "object" && value !== null && !(value instanceof Date)) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, revealAll(member)]));
  }
  return value;
}

/**
 * Replaces the members at the given paths by {@link Secret}s, in place. A path is
 * member names joined by dots, `*` standing for each item of a list.
 */
export function conceal(value: unknown, paths: readonly string[]): void {
  for (const path of paths) concealAt(value, path.split("."));
}

function concealAt(value: unknown, path: readonly string[]): void {
  const [name, ...rest] = path;
  if (name === undefined || typeof value !== "object" || value === null) return;
  if (name === "*") {
    if (Array.isArray(value)) for (const item of value) concealAt(item, rest);
    return;
  }
  const owner = value as Record<string, unknown>;
  const member = Object.hasOwn(owner, name) ? owner[name] : undefined;
  if (rest.length > 0) concealAt(member, rest);
  else if (typeof member === "string") owner[name] = new Secret(member);
}

/** Secrets of Marque, and anything that looks like a token, by their form. */
const SECRETS = /\bmq[a-z]_[0-9A-Za-z]{8,}|\beyJ[\w-]*\.[\w-]*(?:\.[\w-]*)?/g;

/** A text of somebody else's, such as a server's message, without what looks like a secret, and without the given ones. */
export function redact(text: string, known: readonly string[] = []): string {
  return known.reduce((rest, secret) => rest.replaceAll(secret, MASK), text.replace(SECRETS, MASK));
}
