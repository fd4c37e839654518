/** The claims of an access token (RFC 9068 section 2.2). */

import { VerificationError } from "../errors.js";
import { parseObject } from "./json.js";
import { malformed, utf8 } from "./jws.js";

/** Whom a token stands for, and what it allows. */
export interface Principal {
  /** The service account that it stands for. */
  readonly subject: string;
  /** The service account that it was issued to. */
  readonly clientId: string;
  readonly issuer: string;
  /** The one audience that it was checked against. */
  readonly audience: string;
  /** The permissions at this audience. */
  readonly scopes: readonly string[];
  /** The names of the roles that give them. */
  readonly roles: readonly string[];
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  /** Its `jti`. */
  readonly tokenId: string;
  /** The account's revocation generation when it was issued. */
  readonly generation: number | undefined;
  /** The id of the credential that it was issued for. */
  readonly credentialId: string | undefined;
  /** What it is bound to (RFC 7800): whoever presents it must prove to have that. */
  readonly confirmation: Readonly<Record<string, unknown>> | undefined;
  /** All claims, as they stand in the token. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** @internal Claims whose form is right; nothing is judged yet. */
export interface Claims {
  readonly iss: string;
  readonly audiences: readonly string[];
  /** In milliseconds since 1970. */
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly principal: Omit<Principal, "audience">;
}

const MAX_DEPTH = 4; // cnf and act nest, nothing nests deeply
const MOST_SCOPES = 64;
const MOST_AUDIENCES = 16;

/** Reads a payload strictly. */
export function parseClaims(payload: Uint8Array): Claims {
  const text = utf8(payload);
  const claims = text === undefined ? undefined : parseObject(text, MAX_DEPTH);
  if (claims === undefined) throw malformed("its payload is not a strict JSON object");
  const iss = string(claims, "iss");
  const issuedAt = time(claims, "iat");
  const expiresAt = time(claims, "exp");
  const notBefore = claims.nbf === undefined ? issuedAt : time(claims, "nbf");
  if (expiresAt <= issuedAt) throw malformed("its times do not fit together");
  const scopes = claims.scope === undefined ? [] : string(claims, "scope", true).split(" ").filter(Boolean);
  if (scopes.length > MOST_SCOPES) throw malformed(`it has more than ${MOST_SCOPES} scopes`);
  const { gen, cnf } = claims;
  if (gen !== undefined && !wholeNumber(gen)) throw malformed("gen is not a whole number");
  if (cnf !== undefined && (typeof cnf !== "object" || cnf === null || Array.isArray(cnf)))
    throw malformed("cnf is no object");
  return {
    iss,
    audiences: audiences(claims.aud),
    issuedAt,
    notBefore,
    expiresAt,
    principal: {
      subject: string(claims, "sub"),
      clientId: string(claims, "client_id"),
      issuer: iss,
      scopes: Object.freeze(scopes),
      roles: claims.roles === undefined ? Object.freeze([]) : strings(claims.roles, "roles"),
      issuedAt: new Date(issuedAt),
      expiresAt: new Date(expiresAt),
      tokenId: string(claims, "jti"),
      generation: gen as number | undefined,
      credentialId: claims.cred === undefined ? undefined : string(claims, "cred"),
      confirmation: cnf === undefined ? undefined : Object.freeze(cnf as Record<string, unknown>),
      claims: Object.freeze(claims),
    },
  };
}

function string(claims: Record<string, unknown>, name: string, mayBeEmpty = false): string {
  const value = claims[name];
  if (typeof value !== "string" || (value === "" && !mayBeEmpty)) throw malformed(`${name} is not a text`);
  return value;
}

function strings(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value) || !value.every((one) => typeof one === "string" && one !== "")) {
    throw malformed(`${name} is not a list of texts`);
  }
  return Object.freeze(value as string[]);
}

function audiences(aud: unknown): readonly string[] {
  const list = strings(Array.isArray(aud) ? aud : [aud], "aud");
  if (list.length === 0 || list.length > MOST_AUDIENCES) throw malformed("aud names nobody, or too many");
  return list;
}

/** Whole seconds, in milliseconds. */
function time(claims: Record<string, unknown>, name: string): number {
  const value = claims[name];
  if (!wholeNumber(value)) throw malformed(`${name} is not a whole number of seconds`);
  return value * 1000;
}

function wholeNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 43;
}

/** Holds the times against a clock. What is dated ahead of it by more than the leeway is refused. */
export function checkTimes(claims: Claims, now: number, ahead: number, behind: number): void {
  const lead = Math.max(claims.issuedAt, claims.notBefore) - now;
  if (lead > ahead) {
    const seconds = Math.ceil(lead / 1000);
    throw new VerificationError(
      "not_yet_valid",
      `the token is dated ${seconds} s ahead of this machine's clock: set the clocks by NTP, here and at the issuer`,
    );
  }
  if (now >= claims.expiresAt + behind) {
    const seconds = Math.floor((now - claims.expiresAt) / 1000);
    throw new VerificationError("expired", `the token expired ${seconds} s ago by this machine's clock`);
  }
}
