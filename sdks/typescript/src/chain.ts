/**
 * Where issuer and credential come from, first match: the constructor, the
 * environment, a profile. Nothing is asked over the network. A credential is
 * never put together from two sources, and that of a profile is used with the
 * profile's issuer only, so that no secret is sent to another server than its own.
 */

import { ApiKeyCredential } from "./apikey.js";
import { ClientSecretCredential, type Credential, type SecretSource } from "./credential.js";
import { ConfigurationError } from "./errors.js";
import { checkIssuer } from "./issuer.js";

/** By what a client signs in. */
export type SignIn = Credential | ApiKeyCredential;

/** What the constructor was given of it. */
export interface Given {
  readonly issuer?: string | undefined;
  readonly credential?: SignIn | null | undefined;
  readonly clientId?: string | undefined;
  readonly clientSecret?: SecretSource | undefined;
  readonly clientSecretFile?: string | undefined;
  readonly apiKey?: SecretSource | undefined;
  readonly apiKeyFile?: string | undefined;
  readonly caFile?: string | undefined;
  /** The name of a profile, which then comes before the environment. */
  readonly profile?: string | undefined;
}

/** A profile, as its file has it. */
export interface Profile {
  /** In words, for messages. */
  readonly source: string;
  readonly issuer?: string | undefined;
  readonly ca_file?: string | undefined;
  readonly client_id?: string | undefined;
  readonly client_secret_file?: string | undefined;
  readonly api_key_file?: string | undefined;
}

/** What the chain can reach besides the constructor. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads a secret, at each use. Absent where there are no files. */
  readonly readSecret?: (path: string, what: string) => string;
  /** The profile of that name, or the current one; or why there is none. */
  readonly profile?: (name: string | undefined) => Profile | string;
}

/** What was found. */
export interface Settings {
  readonly issuer: string;
  readonly credential: SignIn | null;
  readonly caFile: string | undefined;
}

const NO_FILES = "reading files needs @marque/sdk/node";

/** Walks the chain. The error names each source that was tried. */
export function resolve(given: Given, around: Surroundings): Settings {
  const tried: string[] = [];
  const read = (name: string) => (given.profile === undefined ? around.environment[name] || undefined : undefined);

  let credential = fromConstructor(given, around);
  if (credential === undefined) {
    tried.push("the constructor: no clientId and no apiKey");
    if (given.profile === undefined) credential = fromEnvironment(read, around, tried);
  }
  let issuer = given.issuer ?? read("MARQUE_ISSUER");
  let caFile = given.caFile ?? read("MARQUE_CA_FILE");

  if (credential === undefined || issuer === undefined || given.profile !== undefined) {
    const profile = around.profile?.(given.profile ?? read("MARQUE_PROFILE")) ?? `profiles: ${NO_FILES}`;
    if (typeof profile === "string") {
      tried.push(profile);
    } else {
      issuer ??= profile.issuer;
      if (issuer !== profile.issuer) {
        tried.push(`${profile.source}: it is for the issuer ${profile.issuer}, not ${issuer}`);
      } else {
        caFile ??= profile.ca_file;
        if (credential === undefined) credential = fromProfile(profile, around, tried);
      }
    }
  }
  if (issuer === undefined) {
    throw new ConfigurationError(
      "no issuer: give it to the constructor, in MARQUE_ISSUER or in a profile; it is the https URL of your Marque. " +
        `Tried: ${tried.join("; ")}`,
    );
  }
  checkIssuer(issuer);
  if (credential === undefined) {
    throw new ConfigurationError(
      "no credential: give clientId and clientSecret, or apiKey, to the constructor, set MARQUE_CLIENT_ID and " +
        "MARQUE_CLIENT_SECRET_FILE, or MARQUE_API_KEY_FILE, or make a profile; for calls without sign-in alone, pass credential: null. " +
        `Tried: ${tried.join("; ")}`,
    );
  }
  return { issuer, credential, caFile };
}

/** Refuses settings of two ways to sign in: which of them is meant nobody knows. */
function onlyOneWay(source: string, ...ways: Readonly<Record<string, unknown>>[]): void {
  const named = ways.flatMap((way) => Object.keys(way).find((name) => way[name] !== undefined) ?? []);
  if (named.length < 2) return;
  throw new ConfigurationError(`${source} has ${named.join(" and ")}, which are two ways to sign in: keep one of them`);
}

/** An API key from one of the two places where one source may have it. */
function oneKey(
  source: string,
  [name, key]: [string, SecretSource | undefined],
  [fileName, file]: [string, string | undefined],
  around: Surroundings,
): ApiKeyCredential | undefined {
  if (key !== undefined && file !== undefined) {
    throw new ConfigurationError(`${source} has both ${name} and ${fileName}: keep one of them`);
  }
  if (file !== undefined) return keyFile(file, around, `${source} (${fileName})`);
  return key === undefined ? undefined : new ApiKeyCredential(key, `${source} (${name})`);
}

function fromConstructor(given: Given, around: Surroundings): SignIn | null | undefined {
  if (given.credential !== undefined) return given.credential;
  const { clientId, clientSecret, clientSecretFile, apiKey, apiKeyFile } = given;
  onlyOneWay("the constructor", { clientId, clientSecret, clientSecretFile }, { apiKey, apiKeyFile });
  const key = oneKey("the constructor", ["apiKey", apiKey], ["apiKeyFile", apiKeyFile], around);
  if (key !== undefined) return key;
  if (clientId === undefined && clientSecret === undefined && clientSecretFile === undefined) return undefined;
  if (clientId === undefined || clientId === "")
    throw new ConfigurationError("the constructor has a secret, but no clientId");
  if (clientSecret !== undefined && clientSecretFile !== undefined) {
    throw new ConfigurationError("the constructor has both clientSecret and clientSecretFile: give one of them");
  }
  if (clientSecretFile !== undefined) {
    return fileCredential(clientId, clientSecretFile, around, "the constructor's clientSecretFile");
  }
  if (clientSecret === undefined || clientSecret === "") {
    throw new ConfigurationError("the constructor has a clientId, but no clientSecret");
  }
  return new ClientSecretCredential(clientId, clientSecret, "the constructor");
}

function fromEnvironment(
  read: (name: string) => string | undefined,
  around: Surroundings,
  tried: string[],
): SignIn | undefined {
  const [id, secret, file] = [
    read("MARQUE_CLIENT_ID"),
    read("MARQUE_CLIENT_SECRET"),
    read("MARQUE_CLIENT_SECRET_FILE"),
  ];
  // Half of a credential, two of them, or one of another sort, is a mistake to be
  // told: going on with another identity would be worse.
  const [apiKey, apiKeyFile] = [read("MARQUE_API_KEY"), read("MARQUE_API_KEY_FILE")];
  onlyOneWay(
    "the environment",
    { MARQUE_CLIENT_ID: id, MARQUE_CLIENT_SECRET: secret, MARQUE_CLIENT_SECRET_FILE: file },
    { MARQUE_API_KEY: apiKey, MARQUE_API_KEY_FILE: apiKeyFile },
  );
  const key = oneKey("the environment", ["MARQUE_API_KEY", apiKey], ["MARQUE_API_KEY_FILE", apiKeyFile], around);
  if (key !== undefined) return key;
  if (id === undefined && secret === undefined && file === undefined) {
    if (read("MARQUE_KEY_FILE") !== undefined) {
      throw new ConfigurationError(
        "MARQUE_KEY_FILE is set, but this version signs in by client secret or API key only: " +
          "set MARQUE_CLIENT_ID and MARQUE_CLIENT_SECRET_FILE, or MARQUE_API_KEY_FILE, instead",
      );
    }
    tried.push("the environment: MARQUE_CLIENT_ID is not set, nor is MARQUE_API_KEY_FILE or MARQUE_API_KEY");
    return undefined;
  }
  if (id === undefined) throw new ConfigurationError("the environment has a client secret, but no MARQUE_CLIENT_ID");
  if (secret !== undefined && file !== undefined) {
    throw new ConfigurationError("both MARQUE_CLIENT_SECRET and MARQUE_CLIENT_SECRET_FILE are set: unset one of them");
  }
  if (file !== undefined) return fileCredential(id, file, around, "MARQUE_CLIENT_SECRET_FILE");
  if (secret === undefined) {
    throw new ConfigurationError(
      "MARQUE_CLIENT_ID is set, but neither MARQUE_CLIENT_SECRET nor MARQUE_CLIENT_SECRET_FILE",
    );
  }
  return new ClientSecretCredential(id, secret, "MARQUE_CLIENT_SECRET");
}

function fromProfile(profile: Profile, around: Surroundings, tried: string[]): SignIn | undefined {
  const { client_id, client_secret_file, api_key_file } = profile;
  onlyOneWay(profile.source, { client_id, client_secret_file }, { api_key_file });
  if (api_key_file) return keyFile(api_key_file, around, profile.source);
  if (client_id && client_secret_file) {
    return fileCredential(client_id, client_secret_file, around, profile.source);
  }
  tried.push(`${profile.source}: it has no client_id with a client_secret_file, and no api_key_file`);
  return undefined;
}

function fileCredential(id: string, file: string, around: Surroundings, source: string): Credential {
  const { readSecret } = around;
  if (readSecret === undefined) throw new ConfigurationError(`${source}: ${NO_FILES}`);
  return new ClientSecretCredential(id, () => readSecret(file, "the client secret"), `${source} (${file})`);
}

function keyFile(file: string, around: Surroundings, source: string): ApiKeyCredential {
  const { readSecret } = around;
  if (readSecret === undefined) throw new ConfigurationError(`${source}: ${NO_FILES}`);
  return new ApiKeyCredential(() => readSecret(file, "the API key"), `${source}, ${file},`);
}
