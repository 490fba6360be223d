// Codec framing: which bytes of a frame stay clear, and what is authenticated.
// See the documentation of package sframe (Go) for the formats.

import { concat, type Bytes } from "./encoding.ts";
import { encodeHeader, frameNonce, maxCTR, parseHeader, tagSize, type FrameKey } from "./sframe.ts";

export const opus = 1;
export const vp8 = 2;
export const vp9 = 3;
export const av1 = 4;

/** The codec of RTCEncoded*FrameMetadata.mimeType; 0 for everything that may not pass. */
export function codecOf(mimeType: string | undefined): number {
  switch (mimeType?.toLowerCase()) {
    case "audio/opus":
      return opus;
    case "video/vp8":
      return vp8;
    case "video/vp9":
      return vp9;
    case "video/av1":
      return av1;
  }
  return 0;
}

const obuKey = 0x0a; // OBU_SEQUENCE_HEADER with size: packetizers mark it as key frame
const obuDelta = 0x32; // OBU_FRAME with size
const marker = Uint8Array.of(0x73, 0x74, 0x6f, 0x31); // "sto1"

const none: Bytes = new Uint8Array(0);

/** Protects one encoded frame. The caller took ctr from the one counter of the key. */
export async function protect(k: FrameKey, ctr: number, codec: number, isKey: boolean, frame: Bytes): Promise<Bytes> {
  const header = encodeHeader(k.kid, ctr);
  let clear = none;
  let prefix = none;
  if (codec === vp8) {
    prefix = clear = frame.subarray(0, 1);
    frame = frame.subarray(1);
  } else if (codec === av1) {
    clear = Uint8Array.of(isKey ? obuKey : obuDelta);
    prefix = concat(clear, leb128(header.length + frame.length + tagSize));
  }
  const sealed = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv: frameNonce(k.salt, ctr), additionalData: aad(header, codec, clear) },
    k.key,
    frame,
  );
  return concat(prefix, header, new Uint8Array(sealed));
}

/** A received frame taken apart, not yet authenticated. */
export interface ParsedFrame {
  codec: number;
  kid: number;
  ctr: number;
  clear: Bytes;
  header: Bytes;
  sealed: Bytes;
}

/** null: not one of our frames. */
export function parseFrame(codec: number, data: Bytes): ParsedFrame | null {
  let clear = none;
  let rest = data;
  if (codec === vp8) {
    clear = data.subarray(0, 1);
    rest = data.subarray(1);
  } else if (codec === av1) {
    const obu = unwrapOBU(data);
    if (!obu) return null;
    clear = Uint8Array.of(obu.clear);
    rest = obu.payload;
  }
  const h = parseHeader(rest);
  // KIDs of ours end at context 4 (data), counters at 2^32.
  if (!h || h.kid >= 5 << 16 || h.ctr >= maxCTR || rest.length - h.length < tagSize) return null;
  return {
    codec,
    kid: h.kid,
    ctr: h.ctr,
    clear,
    header: rest.subarray(0, h.length),
    sealed: rest.subarray(h.length),
  };
}

/** Opens a parsed frame; null if the tag does not verify. */
export async function open(k: FrameKey, f: ParsedFrame): Promise<Bytes | null> {
  try {
    const plain = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: frameNonce(k.salt, f.ctr), additionalData: aad(f.header, f.codec, f.clear) },
      k.key,
      f.sealed,
    );
    return f.codec === vp8 ? concat(f.clear, new Uint8Array(plain)) : new Uint8Array(plain);
  } catch {
    return null;
  }
}

function aad(header: Bytes, codec: number, clear: Bytes): Bytes {
  return concat(header, marker, Uint8Array.of(codec), clear);
}

function leb128(v: number): Bytes {
  const out: number[] = [];
  for (; v >= 0x80; v >>>= 7) out.push((v & 0x7f) | 0x80);
  out.push(v);
  return Uint8Array.from(out);
}

/** The payload of the one OBU in b, behind a temporal delimiter perhaps, and its header byte as senders write it. */
function unwrapOBU(b: Bytes): { clear: number; payload: Bytes } | null {
  let obu = nextOBU(b);
  if (obu && obu.type === 2) obu = nextOBU(obu.rest);
  if (!obu || obu.rest.length !== 0) return null;
  if (obu.type === 1) return { clear: obuKey, payload: obu.payload };
  if (obu.type === 6) return { clear: obuDelta, payload: obu.payload };
  return null;
}

function nextOBU(b: Bytes): { type: number; payload: Bytes; rest: Bytes } | null {
  if (b.length === 0 || (b[0]! & 0x81) !== 0) return null; // forbidden and reserved bits
  const type = (b[0]! >> 3) & 15;
  let at = b[0]! & 4 ? 2 : 1; // extension
  if ((b[0]! & 2) === 0) return b.length < at ? null : { type, payload: b.subarray(at), rest: none };
  let size = 0;
  for (let i = 0; ; i++) {
    // Four groups of seven bits are 256 MB, more than any frame.
    if (i === 4 || at >= b.length) return null;
    const c = b[at++]!;
    size |= (c & 0x7f) << (7 * i);
    if ((c & 0x80) === 0) break;
  }
  if (b.length - at < size) return null;
  return { type, payload: b.subarray(at, at + size), rest: b.subarray(at + size) };
}
