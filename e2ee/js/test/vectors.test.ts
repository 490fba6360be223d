// The same bytes as the Go implementation, both ways.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { codecOf, open, parseFrame, protect } from "../src/frame.ts";
import { LinkKeys } from "../src/link.ts";
import { deriveFrameKey, encodeHeader, parseHeader } from "../src/sframe.ts";
import { fromBase64url, hex, toHex, vectors } from "./fixtures.ts";

interface LinkVector {
  secret: string; link_sig_public: string; room_id: string; host: string; nonce: string; conn_id: string;
  connect_signature: string;
}
interface FrameVector { base_key: string; kid: number; ctr: number; codec: string; key_frame: boolean; frame: string; protected: string }

test("link keys", async () => {
  for (const v of vectors<LinkVector[]>("link.json")) {
    const keys = await LinkKeys.derive(fromBase64url(v.secret, 32)!);
    assert.equal(keys.roomId, v.room_id);
    assert.equal(toHex(keys.publicKey), v.link_sig_public);
    assert.equal(toHex(await keys.connectSignature(v.host, hex(v.nonce), hex(v.conn_id))), v.connect_signature);
  }
});

test("no key can be taken out", async () => {
  const keys = await LinkKeys.derive(new Uint8Array(32));
  const found = Object.values(keys as object).filter((v): v is CryptoKey => v instanceof CryptoKey);
  assert.equal(found.length, 1);
  for (const k of [...found, (await deriveFrameKey(new Uint8Array(16), 1, "encrypt")).key]) assert.equal(k.extractable, false);
});

test("frames", async () => {
  for (const v of vectors<FrameVector[]>("frame.json")) {
    const codec = codecOf(v.codec);
    const k = await deriveFrameKey(hex(v.base_key), v.kid, "encrypt");
    assert.equal(toHex(await protect(k, v.ctr, codec, v.key_frame, hex(v.frame))), v.protected, `${v.codec} ${v.ctr}`);
    const parsed = parseFrame(codec, hex(v.protected))!;
    assert.deepEqual([parsed.kid, parsed.ctr], [v.kid, v.ctr]);
    const plain = await open(await deriveFrameKey(hex(v.base_key), v.kid, "decrypt"), parsed);
    assert.equal(plain && toHex(plain), v.frame);
  }
});

test("headers of RFC 9605", () => {
  const path = "../sframe/testdata/rfc9605-test-vectors.json";
  // Numbers beyond 2^53 lose their low digits in JSON.parse: take them as text.
  const text = readFileSync(path, "utf8").replace(/"(kid|ctr)": (\d+)/g, '"$1": "$2"');
  const all = (JSON.parse(text) as { header: { kid: string; ctr: string; encoded: string }[] }).header;
  assert.equal(all.length, 289);
  for (const v of all) {
    const safe = BigInt(v.kid) < 2n ** 53n && BigInt(v.ctr) < 2n ** 53n;
    const parsed = parseHeader(hex(v.encoded));
    if (!safe) {
      assert.equal(parsed, null, v.encoded);
      continue;
    }
    assert.equal(toHex(encodeHeader(Number(v.kid), Number(v.ctr))), v.encoded);
    assert.deepEqual(parsed, { kid: Number(v.kid), ctr: Number(v.ctr), length: v.encoded.length / 2 });
    for (let cut = 0; cut < v.encoded.length / 2; cut++) assert.equal(parseHeader(hex(v.encoded).subarray(0, cut)), null);
  }
});
