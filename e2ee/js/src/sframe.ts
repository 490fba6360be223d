// SFrame (RFC 9605), suite AES_128_GCM_SHA256_128: header, keys, nonces. The
// framing by codec is in frame.ts. Same bytes as package sframe (Go).

import { concat, utf8, type Bytes } from "./encoding.ts";
import { expand, extract } from "./kdf.ts";
import type { Source } from "./messages.ts";

export const tagSize = 16;

/** 2^32 frames are the end of a key. */
export const maxCTR = 2 ** 32;

/** Fixed by the wire format; signaling's names in the order of their contexts. */
export const contexts: readonly Source[] = ["mic", "camera", "screen", "screen_audio"];

export function contextOf(source: Source): number {
  return contexts.indexOf(source);
}

/** context << 16 | leaf << 8 | epoch mod 256 (RFC 9605 5.2 with E = S = 8). */
export function makeKID(context: number, leaf: number, epoch: number): number {
  return (context << 16) | (leaf << 8) | epoch;
}

export interface Header {
  kid: number;
  ctr: number;
  /** Encoded length in bytes. */
  length: number;
}

function byteLength(v: number): number {
  let n = 1;
  while (v >= 256) {
    v = Math.floor(v / 256);
    n++;
  }
  return n;
}

/** Encodes a header (RFC 9605 4.3). Both numbers are safe integers. */
export function encodeHeader(kid: number, ctr: number): Bytes {
  const k = kid > 7 ? byteLength(kid) : 0;
  const c = ctr > 7 ? byteLength(ctr) : 0;
  const out = new Uint8Array(1 + k + c);
  out[0] = (k > 0 ? 0x80 | ((k - 1) << 4) : kid << 4) | (c > 0 ? 0x08 | (c - 1) : ctr);
  for (let i = k, v = kid; i > 0; i--, v = Math.floor(v / 256)) out[i] = v % 256;
  for (let i = k + c, v = ctr; i > k; i--, v = Math.floor(v / 256)) out[i] = v % 256;
  return out;
}

/**
 * Decodes a header in its shortest form. null: truncated, not the shortest, or a
 * number beyond 2^53, which nobody here uses.
 */
export function parseHeader(b: Uint8Array): Header | null {
  if (b.length === 0) return null;
  let at = 1;
  const number = (field: number): number | null => {
    if (field < 8) return field;
    const n = (field & 7) + 1;
    if (b.length - at < n) return null;
    let v = 0;
    for (let i = 0; i < n; i++) v = v * 256 + b[at + i]!;
    at += n;
    return v >= 8 && Number.isSafeInteger(v) && byteLength(v) === n ? v : null;
  };
  const kid = number(b[0]! >> 4);
  if (kid === null) return null;
  const ctr = number(b[0]! & 15);
  if (ctr === null) return null;
  return { kid, ctr, length: at };
}

/** Key and salt of one KID. */
export interface FrameKey {
  readonly kid: number;
  readonly key: CryptoKey;
  readonly salt: Bytes;
}

/** RFC 9605 4.4.2, first step: what all keys of a base key come from. */
export function extractBase(base: Bytes): Promise<CryptoKey> {
  return extract(null, base);
}

export async function deriveFrameKey(base: Bytes, kid: number, usage: "encrypt" | "decrypt"): Promise<FrameKey> {
  return expandFrameKey(await extractBase(base), kid, usage);
}

/** Second step. The key is not extractable and serves one direction. */
export async function expandFrameKey(secret: CryptoKey, kid: number, usage: "encrypt" | "decrypt"): Promise<FrameKey> {
  const suffix = new Uint8Array(10); // KID u64 || suite u16
  new DataView(suffix.buffer).setUint32(4, kid);
  suffix[9] = 4;
  const raw = await expand(secret, concat(utf8("SFrame 1.0 Secret key "), suffix), 16);
  const salt = await expand(secret, concat(utf8("SFrame 1.0 Secret salt "), suffix), 12);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, [usage]);
  raw.fill(0);
  return { kid, key, salt };
}

/** salt XOR ctr (RFC 9605 4.4.3); ctr < 2^32. */
export function frameNonce(salt: Bytes, ctr: number): Bytes {
  const nonce = salt.slice();
  const view = new DataView(nonce.buffer);
  view.setUint32(8, view.getUint32(8) ^ ctr);
  return nonce;
}
