/** Files with settings and secrets. */

import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import type { Profile } from "../chain.js";
import { ConfigurationError } from "../errors.js";

/** A secret from a file, without white space around it, which editors leave. Read at each use: files are rotated. */
export function readSecret(path: string, what: string): string {
  const text = read(path, what).trim();
  if (text === "") throw new ConfigurationError(`the file ${path} of ${what} is empty`);
  return text;
}

/** A file that must be there. */
export function read(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError(`${what} cannot be read from ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** Where the profiles are: `marque/config.json` below `XDG_CONFIG_HOME`, or `~/.config`. */
export function profilePath(environment: Readonly<Record<string, string | undefined>>): string {
  const configured = environment.XDG_CONFIG_HOME;
  // A relative path there is to be ignored, says the XDG specification.
  const base = configured && isAbsolute(configured) ? configured : join(homedir(), ".config");
  return join(base, "marque", "config.json");
}

/**
 * A profile by its name, or the current one; where there is none, why. A profile
 * that was asked for by name must be there, and nobody but its owner may have
 * access to the file: it says where secrets are sent.
 */
export function readProfile(path: string, wanted: string | undefined): Profile | string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    if (wanted !== undefined)
      throw new ConfigurationError(`the profile ${wanted} is asked for, but there is no ${path}`);
    return `profiles: there is no ${path}`;
  }
  if (process.platform !== "win32" && (stat.mode & 0o077) !== 0) {
    throw new ConfigurationError(`others have access to ${path}: run chmod 600 ${path}`);
  }
  const { current, profiles } = parse(path);
  const name = wanted ?? current;
  if (name === undefined) return `profiles: ${path} names no current one`;
  const found = profiles[name];
  if (typeof found !== "object" || found === null) throw new ConfigurationError(`${path} has no profile ${name}`);
  const members = found as Record<string, unknown>;
  const text = (member: string) => {
    const value = members[member];
    if (value !== undefined && typeof value !== "string") {
      throw new ConfigurationError(`${member} of the profile ${name} in ${path} is not a text`);
    }
    return value || undefined;
  };
  const file = (member: string) => {
    const value = text(member);
    return value === undefined ? undefined : resolve(dirname(path), value);
  };
  return {
    source: `the profile ${name} in ${path}`,
    issuer: text("issuer"),
    ca_file: file("ca_file"),
    client_id: text("client_id"),
    client_secret_file: file("client_secret_file"),
    api_key_file: file("api_key_file"),
  };
}

function parse(path: string): { current?: string; profiles: Record<string, unknown> } {
  let value: unknown;
  try {
    value = JSON.parse(read(path, "the profiles"));
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
  }
  const file = value as { current?: unknown; profiles?: unknown } | null | undefined;
  if (typeof file !== "object" || file === null || typeof file.profiles !== "object" || file.profiles === null) {
    throw new ConfigurationError(`${path} is not {"current": NAME, "profiles": {NAME: {…}}}`);
  }
  const { current, profiles } = file;
  return { ...(typeof current === "string" ? { current } : {}), profiles: profiles as Record<string, unknown> };
}
