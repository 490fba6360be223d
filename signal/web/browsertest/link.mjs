// Room links as e2ee/link makes them: the room's name is the hash of a key that the secret gives.

import { createHash, createPrivateKey, createPublicKey, hkdfSync, randomBytes } from "node:crypto";

const pkcs8Ed25519 = Buffer.from("302e020100300506032b657004220420", "hex"); // RFC 8410 section 7, before the seed

function base32(bytes) {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  let bits = 0, value = 0, out = "";
  for (const b of bytes) {
    value = (value << 8) | b;
    for (bits += 8; bits >= 5; bits -= 5) out += alphabet[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? out + alphabet[(value << (5 - bits)) & 31] : out;
}

export function newSecret() {
  return randomBytes(32);
}

/** linkPublicKey is the raw public key that admits to the room. */
export function linkPublicKey(secret) {
  const seed = Buffer.from(hkdfSync("sha256", secret, "sotto-e2ee/1", "link-sig", 32));
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Ed25519, seed]), format: "der", type: "pkcs8" });
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
}

export function roomId(secret) {
  return base32(createHash("sha256").update(linkPublicKey(secret)).digest().subarray(0, 16));
}

/** roomLink is a link into the room of secret; query holds the page's test parameters. */
export function roomLink(page, secret, query = {}) {
  return `${page}/r/${roomId(secret)}?${new URLSearchParams(query)}#${secret.toString("base64url")}`;
}
