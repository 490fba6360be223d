// Sealed envelopes: what members tell each other through the service.
//
//   v u8 = 1 | type u8 | gen u16 | gi[16] | slot u64 | epoch u64 | from_conn[16] | to_conn[16] | sealed
//   sealed = nonce (12) || AES-256-GCM ciphertext || tag (16), AAD = header || room id
//
// The nonce is a counter from 0 per connection; a receiver refuses one that does
// not rise. Without MLS gen, gi, slot and epoch are zero.

import { concat, toBase64url, type Bytes } from "./encoding.ts";
import type { LinkKeys } from "./link.ts";

export const typeApp = 5;
export const headerSize = 68;
const nonceSize = 12;
const tagSize = 16;
const maxSealed = 32 << 10; // of an application envelope

export interface Envelope {
  type: number;
  /** Numbers that are zero without MLS: true if they are. */
  plain: boolean;
  from: string;
  /** base64url, or null for everybody. */
  to: string | null;
  header: Bytes;
  sealed: Bytes;
}

/** Splits an application envelope and checks its sizes; null if it is none. */
export function parseEnvelope(data: Bytes): Envelope | null {
  if (data.length < headerSize + nonceSize + tagSize || data.length > headerSize + maxSealed) return null;
  if (data[0] !== 1 || data[1] !== typeApp) return null;
  const to = data.subarray(52, 68);
  return {
    type: typeApp,
    plain: data.subarray(2, 36).every((b) => b === 0),
    from: toBase64url(data.subarray(36, 52)),
    to: to.every((b) => b === 0) ? null : toBase64url(to),
    header: data.subarray(0, headerSize),
    sealed: data.subarray(headerSize),
  };
}

/** Seals the envelopes of the own connection. One per connection: it owns the counter. */
export class Sealer {
  private next = 0;

  private constructor(
    private readonly key: CryptoKey,
    private readonly from: Bytes,
    private readonly room: Bytes,
  ) {}

  static async create(keys: LinkKeys, from: Bytes): Promise<Sealer> {
    return new Sealer(await keys.envelopeKey(from, "encrypt"), from, keys.room);
  }

  async seal(to: Bytes | null, message: Bytes): Promise<Bytes> {
    if (nonceSize + message.length + tagSize > maxSealed) throw new RangeError("envelope too large");
    const nonce = counterNonce(this.next++);
    const header = new Uint8Array(headerSize);
    header[0] = 1;
    header[1] = typeApp;
    header.set(this.from, 36);
    if (to) header.set(to, 52);
    const sealed = await crypto.subtle.encrypt(
      { name: "AES-GCM", iv: nonce, additionalData: concat(header, this.room) },
      this.key,
      message,
    );
    return concat(header, nonce, new Uint8Array(sealed));
  }
}

export type Opened = { message: Bytes } | { refused: "envelope_replay" | "envelope_malformed" | "envelope_auth_fail" };

/** Opens the envelopes of one connection, each once and in order. */
export class Opener {
  private next = 0; // lowest counter still acceptable

  private constructor(
    private readonly key: CryptoKey,
    private readonly room: Bytes,
  ) {}

  static async create(keys: LinkKeys, from: Bytes): Promise<Opener> {
    return new Opener(await keys.envelopeKey(from, "decrypt"), keys.room);
  }

  /** Calls must not overlap. */
  async open(e: Envelope): Promise<Opened> {
    const nonce = e.sealed.subarray(0, nonceSize);
    const view = new DataView(nonce.buffer, nonce.byteOffset);
    const counter = view.getUint32(4) * 2 ** 32 + view.getUint32(8);
    if (view.getUint32(0) !== 0 || counter >= Number.MAX_SAFE_INTEGER) return { refused: "envelope_malformed" };
    if (counter < this.next) return { refused: "envelope_replay" };
    try {
      const message = await crypto.subtle.decrypt(
        { name: "AES-GCM", iv: nonce, additionalData: concat(e.header, this.room) },
        this.key,
        e.sealed.subarray(nonceSize),
      );
      this.next = counter + 1;
      return { message: new Uint8Array(message) };
    } catch {
      return { refused: "envelope_auth_fail" };
    }
  }
}

function counterNonce(counter: number): Bytes {
  const nonce = new Uint8Array(nonceSize);
  const view = new DataView(nonce.buffer);
  view.setUint32(4, Math.floor(counter / 2 ** 32));
  view.setUint32(8, counter >>> 0);
  return nonce;
}
