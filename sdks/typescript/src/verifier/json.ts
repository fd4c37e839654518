/** JSON that all parsers read alike. */

/** More members than any object has that is read here. */
const MOST_MEMBERS = 64;
/** The longest literal that 64 bits need has 24 characters; of longer ones parsers differ. */
const LONGEST_NUMBER = 32;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Parses an object, nested at most `depth` levels, in which no object has two
 * members of one name, nor of names that differ only in case: parsers disagree
 * on which of the two counts. Undefined for anything else.
 */
export function parseObject(text: string, depth: number): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return unambiguous(text, depth) ? (value as Record<string, unknown>) : undefined;
}

/** Walks text that is known to be JSON, so that only strings, numbers and punctuation need a look. */
function unambiguous(text: string, depth: number): boolean {
  // The open containers: the names of an object so far, or null for a list.
  const open: (Set<string> | null)[] = [];
  let nameNext = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      const end = endOfString(text, i);
      const inside = text.slice(i + 1, end);
      const string = inside.includes("\\") ? (JSON.parse(text.slice(i, end + 1)) as string) : inside;
      // A surrogate alone has no UTF-8 form: two names could become one.
      if (string !== inside && /\p{Surrogate}/u.test(string)) return false;
      const names = open.at(-1);
      if (nameNext && names) {
        const folded = /^[a-z0-9_]*$/.test(string) ? string : string.toUpperCase().toLowerCase();
        if (names.has(folded) || names.size === MOST_MEMBERS) return false;
        names.add(folded);
      }
      i = end;
    } else if (c === OPEN_OBJECT || c === OPEN_LIST) {
      if (open.length === depth) return false;
      nameNext = c === OPEN_OBJECT;
      open.push(nameNext ? new Set() : null);
    } else if (c === CLOSE_OBJECT || c === CLOSE_LIST) {
      open.pop();
      nameNext = false;
    } else if (c === COMMA) {
      nameNext = open.at(-1) !== null;
    } else if (c === COLON) {
      nameNext = false;
    } else if (c === MINUS || (c >= ZERO && c <= NINE)) {
      const start = i;
      while (/[\d.eE+-]/.test(text.charAt(i + 1))) i++;
      if (i + 1 - start > LONGEST_NUMBER) return false;
    }
  }
  return true;
}

/** The index of the quote that ends the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let i = text.indexOf('"', start + 1);
  if (text.charCodeAt(i - 1) !== BACKSLASH) return i;
  i = start + 1;
  while (text.charCodeAt(i) !== QUOTE) i += text.charCodeAt(i) === BACKSLASH ? 2 : 1;
  return i;
}
