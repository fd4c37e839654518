// What two generators make of one contract, compared. Open enumerations and
// secrets are strings to the other one, and so they are here; whether a member is
// optional is made a part of its type, since a missing optional member would be
// assignable both ways.

import type { PageBody, Pages } from "./page.js";
import type { Reply } from "./reply.js";
import type { Secret } from "./secret.js";
import type { components } from "./theirs.js";

export type Schemas = components["schemas"];

type Plain<T> = T extends string | Secret
  ? string
  : T extends number | boolean | null | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? Plain<Item>[]
      : T extends object
        ? { [K in keyof T]-?: [object extends Pick<T, K> ? "optional" : "required", Plain<Exclude<T[K], undefined>>] }
        : T;

type Mutual<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** Whether two types are assignable to each other. */
export type Same<Ours, Theirs> = Mutual<Plain<Ours>, Plain<Theirs>>;

type Json<T> = { content: { "application/json": T } };

/** What an operation of theirs answers. */
export type Answer<Op> = Op extends { responses: { 200: Json<infer T> } }
  ? T
  : Op extends { responses: { 201: Json<infer T> } }
    ? T
    : undefined;

/** What a method of ours answers: of a list, the page that the wire has. */
export type Given<Method extends (...args: never[]) => unknown> =
  ReturnType<Method> extends Pages<infer Item>
    ? PageBody<Item>
    : ReturnType<Method> extends Reply<infer T>
      ? [T] extends [void] ? undefined : T
      : never;

/** What an operation of theirs takes. */
export type Body<Op> = Op extends { requestBody?: { content: infer Content } } ? Content[keyof Content] : never;

/** The query parameters of an operation of theirs. */
export type Query<Op> = Op extends { parameters: { query?: infer Q } } ? NonNullable<Q> : never;

/** Those of their objects that are not in Names; strings, lists and maps have no name here. */
export type Missing<Names> = {
  [K in Exclude<keyof Schemas, Names>]: Schemas[K] extends string | unknown[]
    ? never
    : string extends keyof Schemas[K]
      ? never
      : K;
}[Exclude<keyof Schemas, Names>];
