// HKDF-SHA256 (RFC 5869) by HMAC. WebCrypto's own HKDF always does both steps;
// here keys are expanded from pseudorandom keys that were extracted elsewhere.
// All outputs are at most one block, so Expand is one HMAC.

import { concat, type Bytes } from "./encoding.ts";

const hmac = { name: "HMAC", hash: "SHA-256" } as const;

/** Imports a pseudorandom key, not extractable, and wipes the bytes given. */
async function importPRK(raw: Bytes): Promise<CryptoKey> {
  const key = await crypto.subtle.importKey("raw", raw, hmac, false, ["sign"]);
  raw.fill(0);
  return key;
}

/** HKDF-Extract. Without salt it is HashLen zeros (RFC 5869 2.2). */
export async function extract(salt: Bytes | null, ikm: Bytes): Promise<CryptoKey> {
  const mac = await crypto.subtle.importKey("raw", salt ?? new Uint8Array(32), hmac, false, ["sign"]);
  return importPRK(new Uint8Array(await crypto.subtle.sign("HMAC", mac, ikm)));
}

/** HKDF-Expand of at most 32 bytes. */
export async function expand(prk: CryptoKey, info: Bytes, length: number): Promise<Bytes> {
  if (length > 32) throw new RangeError("expand: more than one block");
  const block = new Uint8Array(await crypto.subtle.sign("HMAC", prk, concat(info, Uint8Array.of(1))));
  const out = block.slice(0, length);
  block.fill(0);
  return out;
}
