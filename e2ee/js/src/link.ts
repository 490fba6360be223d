// What the link of a room gives before there is a membership machine: its name
// and the key that admits connections. See package link (Go).

import { concat, toBase32, utf8, type Bytes } from "./encoding.ts";
import { expand, extract } from "./kdf.ts";

export const secretSize = 32;
export const connIdSize = 16;

export class LinkKeys {
  readonly roomId: string;

  private constructor(
    private readonly sign: CryptoKey,
    /** Ed25519 public key whose hash is the room id. */
    readonly publicKey: Bytes,
    room: Bytes,
  ) {
    this.roomId = toBase32(room);
  }

  /** The key it keeps is not extractable. secret stays the caller's. */
  static async derive(secret: Bytes): Promise<LinkKeys> {
    const prk = await extract(utf8("sotto-e2ee/1"), secret);
    const seed = await expand(prk, utf8("link-sig"), 32);
    const { sign, publicKey } = await importEd25519(seed);
    seed.fill(0);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", publicKey));
    return new LinkKeys(sign, publicKey, hash.slice(0, 16));
  }

  /** Proves to the service that this client has the link, for one connection. */
  connectSignature(host: string, nonce: Bytes, connId: Bytes): Promise<Bytes> {
    return this.signature("sotto-connect/1", host, nonce, connId);
  }

  /** Proves by the key of a new link that this connection may give its room that link's name. */
  aliasSignature(host: string, nonce: Bytes, connId: Bytes): Promise<Bytes> {
    return this.signature("sotto-alias/1", host, nonce, connId);
  }

  private async signature(purpose: string, host: string, nonce: Bytes, connId: Bytes): Promise<Bytes> {
    const message = concat(utf8(purpose), utf8(host), nonce, connId);
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.sign, message));
  }
}

// PKCS #8 of an Ed25519 seed (RFC 8410 7), up to the seed itself.
const pkcs8Prefix = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

/**
 * A signing key from its seed, and its public key. WebCrypto cannot compute the
 * public key of a non-extractable key, so the key is imported extractable once,
 * asked for its public part, and imported again for keeps.
 */
async function importEd25519(seed: Bytes): Promise<{ sign: CryptoKey; publicKey: Bytes }> {
  const pkcs8 = concat(pkcs8Prefix, seed);
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", open);
  const sign = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  pkcs8.fill(0);
  // Through raw import and export of the public key: what comes out is checked to be a key.
  const verify = await crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x: x! }, "Ed25519", true, ["verify"]);
  return { sign, publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", verify)) };
}

/** 16 random bytes: a connection id. */
export function random16(): Bytes {
  return crypto.getRandomValues(new Uint8Array(16));
}

