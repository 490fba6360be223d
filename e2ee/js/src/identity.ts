// The key that a person is known by: Ed25519, made by WebCrypto, not extractable.

import { toHex, type Bytes } from "./encoding.ts";
import type { Storage } from "./storage.ts";

const own = "own";

export class Identity {
  private constructor(
    private readonly privateKey: CryptoKey,
    readonly publicKey: Bytes,
    /** SHA-256 of the public key, hexadecimal. */
    readonly fingerprint: string,
    /** Another start of this browser has the same. */
    readonly persistent: boolean,
  ) {}

  /** The identity of this browser; one for this worker if the browser keeps none. */
  static async load(storage: Storage): Promise<Identity> {
    const store = storage.store<CryptoKeyPair>("identity");
    try {
      const pair = (await store.get(own)) ?? (await store.add(own, await generate()));
      return await Identity.of(pair, true);
    } catch {
      // Private windows may refuse to store a key.
      return Identity.throwaway();
    }
  }

  /** An identity that goes with this worker. */
  static async throwaway(): Promise<Identity> {
    return Identity.of(await generate(), false);
  }

  private static async of(pair: CryptoKeyPair, persistent: boolean): Promise<Identity> {
    const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    return new Identity(pair.privateKey, publicKey, await fingerprintOf(publicKey), persistent);
  }

  async sign(message: Bytes): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.privateKey, message));
  }
}

function generate(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]) as Promise<CryptoKeyPair>;
}

export async function fingerprintOf(publicKey: Bytes): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", publicKey)));
}

/** The part of a fingerprint that is shown. */
export function shown(fingerprint: string): string {
  return fingerprint.slice(0, 16);
}
