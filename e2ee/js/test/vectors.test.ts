// The same bytes as the Go implementation, both ways.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Opener, parseEnvelope, Sealer } from "../src/envelope.ts";
import { codecOf, open, parseFrame, protect } from "../src/frame.ts";
import { LinkKeys } from "../src/link.ts";
import { encodeMessage } from "../src/session.ts";
import { deriveFrameKey, encodeHeader, parseHeader } from "../src/sframe.ts";
import { FakeTransform, frame, fromBase64url, hex, relayed, settle, TestEngine, toHex, vectors } from "./fixtures.ts";

interface LinkVector {
  secret: string; link_sig_public: string; room_id: string; host: string; nonce: string; conn_id: string;
  connect_signature: string; random: string; sender_base_key: string;
}
interface EnvelopeVector { secret: string; from_conn: string; to_conn: string; messages: string[]; envelopes: string[] }
interface FrameVector { base_key: string; kid: number; ctr: number; codec: string; key_frame: boolean; frame: string; protected: string }
interface RoomVector {
  secret: string; conn_id: string; random: string; leaf: number; announcement: string; heartbeat: string;
  frames: { source: "mic"; mime: string; key_frame: boolean; rtp_timestamp: number; frame: string; protected: string }[];
}

test("link keys", async () => {
  for (const v of vectors<LinkVector[]>("link.json")) {
    const keys = await LinkKeys.derive(fromBase64url(v.secret, 32)!);
    assert.equal(keys.roomId, v.room_id);
    assert.equal(toHex(keys.publicKey), v.link_sig_public);
    assert.equal(toHex(await keys.connectSignature(v.host, hex(v.nonce), hex(v.conn_id))), v.connect_signature);
    assert.equal(toHex(await keys.senderBase(hex(v.random), hex(v.conn_id))), v.sender_base_key);
  }
});

test("no key can be taken out", async () => {
  const keys = await LinkKeys.derive(new Uint8Array(32));
  const found = Object.values(keys as object).filter((v): v is CryptoKey => v instanceof CryptoKey);
  assert.equal(found.length, 3);
  for (const k of [...found, (await deriveFrameKey(new Uint8Array(16), 1, "encrypt")).key]) assert.equal(k.extractable, false);
});

test("envelopes", async () => {
  for (const v of vectors<EnvelopeVector[]>("envelope.json")) {
    const keys = await LinkKeys.derive(fromBase64url(v.secret, 32)!);
    const sealer = await Sealer.create(keys, hex(v.from_conn));
    const opener = await Opener.create(keys, hex(v.from_conn));
    const to = /^0*$/.test(v.to_conn) ? null : hex(v.to_conn);
    for (const [i, message] of v.messages.entries()) {
      const envelope = await sealer.seal(to, hex(message));
      assert.equal(toHex(envelope), v.envelopes[i]);
      const opened = await opener.open(parseEnvelope(envelope)!);
      assert.ok("message" in opened);
      assert.equal(toHex(opened.message), message);
    }
  }
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

test("a native member is heard", async () => {
  const v = vectors<RoomVector>("room.json");
  const e = new TestEngine();
  await e.handle({ type: "init", secret: v.secret, host: "meet.example" });
  await e.handle({ type: "welcome", leaf: 1, peers: [{ connId: v.conn_id, leaf: v.leaf }] });
  await e.handle({ type: "envelope", data: relayed(hex(v.announcement)) });
  assert.equal(e.state(v.conn_id), "encrypted");
  const mids = ["mic", "camera", "screen", "screen_audio"] as const;
  await e.handle({ type: "slots", slots: mids.map((source) => ({ mid: source, connId: v.conn_id, source })) });
  const transforms = new Map(mids.map((mid) => [mid as string, new FakeTransform(e, { side: "receive", mid })]));
  for (const f of v.frames) transforms.get(f.source)!.put(frame(f.mime, hex(f.protected), f.rtp_timestamp, "key"));
  await settle();
  for (const [source, t] of transforms) {
    await t.end();
    assert.deepEqual(t.hexes(), v.frames.filter((f) => f.source === source).map((f) => f.frame));
  }
  await e.handle({ type: "envelope", data: relayed(hex(v.heartbeat)) });
  assert.deepEqual(e.sums().dropped, {});

  const message = encodeMessage(1, { conn_id: v.conn_id, leaf: v.leaf, random: Buffer.from(v.random, "hex").toString("base64url") });
  const opener = await Opener.create(await LinkKeys.derive(fromBase64url(v.secret)!), fromBase64url(v.conn_id)!);
  const announced = await opener.open(parseEnvelope(hex(v.announcement))!);
  assert.ok("message" in announced);
  assert.equal(toHex(message), toHex(announced.message));
});
