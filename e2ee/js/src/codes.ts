// Safety codes: what people compare to see that nobody sits between them. See
// package safety (Go).

import { concat, utf8, type Bytes } from "./encoding.ts";
import { emoji } from "./emoji.ts";
import type { Code } from "./messages.ts";

const iterations = 100_000;
const codeSize = 16;

/** The code of an epoch of a group. */
export function groupCode(authenticator: Bytes, groupId: Bytes): Promise<Bytes> {
  return derive(authenticator, concat(utf8("sotto group"), groupId));
}

/** The code of two people, by the SHA-256 of their identity keys; the order does not matter. */
export function personCode(a: Bytes, b: Bytes): Promise<Bytes> {
  const [first, second] = before(a, b) ? [a, b] : [b, a];
  return derive(concat(first, second), utf8("sotto person"));
}

async function derive(secret: Bytes, salt: Bytes): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 8 * codeSize);
  return new Uint8Array(bits);
}

function before(a: Bytes, b: Bytes): boolean {
  const i = a.findIndex((v, n) => v !== b[n]);
  return i < 0 || a[i]! < b[i]!;
}

/** A code as people see it: the number modulo 10^30 in groups of five digits, and a symbol for each of the first 12 bytes. */
export function show(code: Bytes): Code {
  let value = 0n;
  for (const b of code) value = (value << 8n) | BigInt(b);
  const digits = (value % 10n ** 30n).toString().padStart(30, "0");
  const symbols = [...code.subarray(0, 12)].map((b) => emoji[b]!);
  return {
    digits: digits.replace(/(.{5})(?=.)/g, "$1 "),
    emoji: symbols.map((e) => e.symbol),
    words: symbols.map((e) => e.name),
  };
}
