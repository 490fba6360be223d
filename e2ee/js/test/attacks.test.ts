// What a server, a stranger or an accident may do to frames and messages, and
// what must come of it. Numbers are those of the protocol's list of attacks.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/encoding.ts";
import type { Source } from "../src/messages.ts";
import { LinkKeys } from "../src/link.ts";
import { Order, ReplayWindow } from "../src/replay.ts";
import { deriveFrameKey, makeKID, maxCTR, parseHeader } from "../src/sframe.ts";
import { SendKey } from "../src/send.ts";
import { memoryStorage } from "../src/storage.ts";
import { FakeTransform, frame, fromBase64url, hex, Participant, settle, toBase64url, toHex, until, World } from "./fixtures.ts";

const plain = (text: string): Bytes => new TextEncoder().encode("\x01" + text) as Bytes;

/** What a source of an engine sends for these frames. */
async function send(e: Participant, source: Source, mime: string, frames: Bytes[]): Promise<Bytes[]> {
  const t = new FakeTransform(e, { side: "send", source });
  for (const f of frames) t.put(frame(mime, f));
  return (await t.end()).map((f) => new Uint8Array(f.data));
}

const video = (n: number): Bytes[] => Array.from({ length: n }, (_, i) => plain(`frame ${i}`));

/** alice's camera in bob's m-line "0". */
async function call(): Promise<{ world: World; alice: Participant; bob: Participant; receive: FakeTransform }> {
  const { world, people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  await bind(bob, alice);
  return { world, alice, bob, receive: new FakeTransform(bob, { side: "receive", mid: "0" }) };
}

async function callOfThree(): Promise<{ world: World; alice: Participant; bob: Participant; carol: Participant }> {
  const { world, people } = await World.of("Alice", "Bob", "Carol");
  const [alice, bob, carol] = people as [Participant, Participant, Participant];
  return { world, alice, bob, carol };
}

async function bind(receiver: Participant, sender: Participant, source: Source = "camera", mid = "0"): Promise<void> {
  await receiver.handle({ type: "slots", slots: [{ mid, connId: sender.connId, source }] });
}

test("two members hear each other, in order", async () => {
  const { alice, bob, receive } = await call();
  assert.equal(bob.state(alice.connId), "encrypted");
  assert.equal(alice.state(bob.connId), "encrypted");
  const frames = [plain("big".repeat(50_000)), ...video(100)];
  for (const f of await send(alice, "camera", "video/VP8", frames)) receive.put(frame("video/VP8", f));
  await receive.end();
  assert.deepEqual(receive.hexes(), frames.map(toHex));
  assert.equal(bob.sums().framesOpened, 101);
  assert.deepEqual(bob.sums().dropped, {});
});

test("1: no flipped bit passes", async () => {
  const { alice, bob, receive } = await call();
  const [sealed] = await send(alice, "camera", "video/VP8", video(1));
  for (let bit = 0; bit < sealed!.length * 8; bit++) {
    const forged = sealed!.slice();
    forged[bit >> 3]! ^= 1 << (bit & 7);
    receive.put(frame("video/VP8", forged));
  }
  await until(() => bob.dropped("e2ee_auth_fail") >= (1 + 7 + 16) * 8);
  assert.equal(receive.out.length, 0);
  assert.equal(bob.state(alice.connId), "mismatch");
  receive.put(frame("video/VP8", sealed!));
  await receive.end();
  assert.equal(receive.out.length, 1);
  assert.equal(bob.state(alice.connId), "encrypted");
});

test("2: a replay is dropped without alarm, also while the first copy is being opened", async () => {
  const { alice, bob, receive } = await call();
  const [sealed] = await send(alice, "camera", "video/VP9", video(1));
  receive.put(frame("video/VP9", sealed!));
  receive.put(frame("video/VP9", sealed!));
  await settle();
  receive.put(frame("video/VP9", sealed!));
  await receive.end();
  assert.equal(receive.out.length, 1);
  assert.equal(bob.dropped("e2ee_replay"), 2);
  assert.equal(bob.state(alice.connId), "encrypted");
});

test("3: reordering inside the window opens, outside drops", async () => {
  const { alice, bob, receive } = await call();
  const sealed = await send(alice, "camera", "video/VP9", video(1030));
  for (const i of [5, 3, 4, 1029, 10, 2]) {
    receive.put(frame("video/VP9", sealed[i]!));
    await settle();
  }
  await receive.end();
  assert.deepEqual(receive.hexes(), [5, 3, 4, 1029, 10].map((i) => toHex(plain(`frame ${i}`))));
  assert.equal(bob.dropped("e2ee_replay"), 1);
});

test("order of time follows the counter", () => {
  const o = new Order();
  const kid = 1;
  assert.ok(o.accept(0, kid, 5, 0xffffff00));
  assert.ok(o.accept(0, kid, 9, 0x10), "wrap");
  assert.ok(!o.accept(0, kid, 10, 0xffffff80), "newer shown older");
  assert.ok(!o.accept(0, kid, 7, 0x20), "older shown newer");
  assert.ok(o.accept(0, kid, 7, 0xffffffff));
  assert.ok(o.accept(0, kid, 8, 0x10), "layers of one picture");
  assert.ok(!o.accept(9_000, kid, 11, 0), "a new timeline, at once");
  assert.ok(o.accept(11_000, kid, 11, 0), "a new timeline, after a while");
});

test("a layer switch inside one picture is no contradiction, an older scene is", () => {
  const o = new Order();
  const kid = 1 << 16;
  assert.ok(o.accept(0, kid, 30, 9000));
  assert.ok(o.accept(0, kid, 28, 9001), "the key frame of the picture's other layer");
  assert.ok(o.accept(0, kid, 33, 12_000));
  assert.ok(o.accept(0, kid, 25, 12_001), "the slack is eight");
  assert.ok(!o.accept(0, kid, 21, 12_002), "further back it is another scene");
  assert.ok(!o.accept(0, kid, 50, 11_000), "newer shown older");
});

test("windows equal a set", () => {
  const w = new ReplayWindow(256);
  const seen = new Set<number>();
  let top = 0;
  let random = 1;
  const next = (n: number): number => (random = (random * 48271) % 0x7fffffff) % n;
  for (let i = 0; i < 20_000; i++) {
    const ctr = next(2) ? top + next(20) : Math.max(0, top - next(300));
    const fresh = !seen.has(ctr) && (ctr >= top || top - ctr <= 256);
    assert.equal(w.refuse(ctr) === null, fresh);
    if (fresh) w.mark(ctr);
    if (fresh) seen.add(ctr);
    if (fresh) top = Math.max(top, ctr + 1);
  }
});

test("4: frames of one person never show under another name", async () => {
  const { world, alice, bob, carol } = await callOfThree();
  const receive = new FakeTransform(bob, { side: "receive", mid: "0" });
  await bind(bob, carol);
  for (const f of await send(alice, "camera", "video/VP9", video(3))) receive.put(frame("video/VP9", f));
  await settle();
  assert.equal(receive.out.length, 0);
  world.now += 501;
  for (const f of await send(carol, "camera", "video/VP9", [plain("carol")])) receive.put(frame("video/VP9", f));
  await bind(bob, carol); // releases, after expiry
  await receive.end();
  assert.deepEqual(receive.hexes(), [toHex(plain("carol"))]);
  assert.equal(bob.dropped("e2ee_hold_expired"), 3);
});

test("4: a frame that waits while its slot goes to somebody else does not show there", async () => {
  const { alice, bob, carol } = await callOfThree();
  const receive = new FakeTransform(bob, { side: "receive", mid: "0" });
  await bind(bob, alice);
  const [sealed] = await send(alice, "camera", "video/VP9", video(1));
  const decrypt = crypto.subtle.decrypt;
  let asked = false;
  let open = (): void => {};
  const gate = new Promise<void>((r) => (open = r));
  Object.assign(crypto.subtle, {
    decrypt: async (...a: Parameters<SubtleCrypto["decrypt"]>) => {
      asked = true;
      await gate;
      return decrypt.apply(crypto.subtle, a);
    },
  });
  try {
    receive.put(frame("video/VP9", sealed!));
    await until(() => asked);
  } finally {
    delete (crypto.subtle as { decrypt?: unknown }).decrypt;
  }
  await bind(bob, carol);
  open();
  await receive.end();
  assert.equal(receive.out.length, 0);
  assert.equal(bob.dropped("e2ee_stale"), 1);
});

test("5: camera and screen of one sender cannot be swapped, nor sound and picture", async () => {
  const { world, alice, bob, receive } = await call();
  for (const f of await send(alice, "screen", "video/VP9", video(2))) receive.put(frame("video/VP9", f));
  for (const f of await send(alice, "mic", "audio/opus", video(2))) receive.put(frame("audio/opus", f));
  await settle();
  world.now += 501;
  await bind(bob, alice);
  await bob.handle({ type: "slots", slots: [] });
  await receive.end();
  assert.equal(receive.out.length, 0);
});

test("6, 7: plaintext, truncated and absurd frames are dropped", async () => {
  const { alice, bob, receive } = await call();
  const [sealed] = await send(alice, "camera", "video/VP9", video(1));
  const tail = "55".repeat(40);
  const absurd = [
    "f8fffe", // Opus silence
    "10020000009d012a08000800", // VP8 key frame of 8x8
    "900100",
    "ffffffffffffffffffffffffffffffffff" + tail, // KID and CTR of 2^64 - 1
    "f80101010101010101" + tail,
    "0c0100000000" + tail, // CTR 2^32
    "00" + "55".repeat(15),
  ];
  for (const mime of ["audio/opus", "video/VP8", "video/VP9", "video/AV1"]) for (const a of absurd) receive.put(frame(mime, hex(a)));
  for (let n = 0; n < sealed!.length; n++) receive.put(frame("video/VP9", sealed!.slice(0, n)));
  receive.put(frame("video/VP9", Uint8Array.from([...sealed!, 0])));
  for (const mime of ["video/H264", "audio/red", "audio/PCMU", ""]) receive.put(frame(mime, sealed!));
  const nameless = frame("", sealed!);
  receive.put({ ...nameless, getMetadata: () => ({}) });
  await receive.end();
  assert.equal(receive.out.length, 0);
  assert.equal(bob.dropped("e2ee_unknown_codec"), 5);
  assert.equal(bob.dropped("e2ee_empty"), 1);
  assert.ok(bob.dropped("e2ee_malformed") > 20);
});

test("nothing is sent before admission, in another codec, or for silence", async () => {
  const world = new World();
  const e = new Participant(world);
  const early = new FakeTransform(e, { side: "send", source: "camera" });
  early.put(frame("video/VP8", plain("before init")));
  await settle();
  await e.handle({ type: "init", secret: null, gen: 0, host: "meet.example" });
  early.put(frame("video/VP8", plain("before welcome")));
  await early.end();
  await world.enter(e);
  const alone = new FakeTransform(e, { side: "send", source: "camera" });
  alone.put(frame("video/VP8", plain("before the group")));
  await alone.end();
  await world.advance(1000);
  const late = new FakeTransform(e, { side: "send", source: "camera" });
  late.put(frame("video/H264", plain("h264")));
  late.put(frame("audio/red", plain("red")));
  late.put(frame("audio/opus", new Uint8Array(0)));
  await late.end();
  assert.deepEqual([early.out, alone.out, late.out], [[], [], []]);
  assert.deepEqual(e.sums().dropped, { e2ee_no_key: 3, e2ee_unknown_codec: 2, e2ee_empty: 1 });
});

test("frames are held for a late epoch and a late binding, 64 at most", async () => {
  const { world, alice, bob, receive } = await call();
  world.withhold(bob);
  await world.enter(await world.participant("Carol"));
  await world.until(() => alice.membership().members.length === 3);
  await world.advance(300); // alice sends in the new epoch, of which bob has not heard
  const frames = video(70);
  for (const f of await send(alice, "camera", "video/VP9", frames)) receive.put(frame("video/VP9", f));
  await settle();
  await bob.handle({ type: "slots", slots: [] });
  await world.release(bob);
  await world.settle();
  assert.equal(receive.out.length, 0);
  await bind(bob, alice);
  await receive.end();
  assert.deepEqual(receive.hexes(), frames.slice(0, 64).map(toHex));
  assert.equal(bob.dropped("e2ee_hold_full"), 6);
  assert.ok(receive.keyFrameRequests >= 1, "a stream that begins with a delta frame asks for a key frame");
});

test("key frames are asked for at growing intervals", async () => {
  const { world, alice, bob, receive } = await call();
  const sealed = await send(alice, "camera", "video/VP9", video(40));
  for (const [i, f] of sealed.slice(0, 39).entries()) {
    f[f.length - 1]! ^= 1;
    receive.put(frame("video/VP9", f));
    await until(() => bob.dropped("e2ee_auth_fail") === i + 1);
    world.now += 100;
  }
  assert.equal(receive.keyFrameRequests, 4, "at 0, 0.5, 1.5 and 3.5 s of 3.9 s");
  receive.put(frame("video/VP9", sealed[39]!, 0, "key"));
  await receive.end();
  assert.equal(receive.out.length, 1);
});

test("44: frames older than two heartbeats are not live", async () => {
  const { world, alice, bob, receive } = await call();
  const sealed: Bytes[] = [];
  for (let i = 0; i < 3; i++) {
    sealed.push(...(await send(alice, "camera", "video/VP9", video(4))));
    world.now += 6000;
    await alice.enqueue(() => alice.beat());
    await world.settle();
  }
  for (const i of [3, 7, 8, 11]) receive.put(frame("video/VP9", sealed[i]!));
  await receive.end();
  assert.equal(receive.out.length, 2);
  assert.equal(bob.dropped("e2ee_stale"), 2);
});

test("15, 32: another secret is another room, and a damaged one is refused", async () => {
  const e = new Participant(new World());
  await e.handle({ type: "init", secret: "short", gen: 0, host: "h" });
  assert.equal(e.of("error").at(-1)?.code, "bad_secret");
  const [a, b] = [await LinkKeys.derive(new Uint8Array(32)), await LinkKeys.derive(new Uint8Array(32).fill(1))];
  assert.notEqual(a.roomId, b.roomId);
  const nonce = new Uint8Array(16);
  const id = new Uint8Array(16);
  const verify = await crypto.subtle.importKey("raw", a.publicKey, "Ed25519", false, ["verify"]);
  const message = new TextEncoder().encode("sotto-connect/1h");
  const check = (sig: Bytes): Promise<boolean> => crypto.subtle.verify("Ed25519", verify, sig, Uint8Array.from([...message, ...nonce, ...id]));
  assert.ok(await check(await a.connectSignature("h", nonce, id)));
  assert.ok(!(await check(await b.connectSignature("h", nonce, id))));
  assert.ok(!(await check(await a.connectSignature("i", nonce, id))));
});

test("14, 31: envelopes that are replayed, of other rooms or damaged are refused", async () => {
  const { world, alice, bob } = await call();
  await alice.handle({ type: "app", kind: "chat", body: { id: "1", text: "once" } });
  await world.settle();
  const { world: other, alice: eve } = await call();
  await eve.handle({ type: "app", kind: "chat", body: { id: "1", text: "elsewhere" } });
  await other.settle();
  const before = JSON.stringify(bob.membership());
  const forged = world.delivered.at(-1)!.slice();
  forged[forged.length - 1]! ^= 1;
  const all = [...world.delivered, ...other.delivered, forged, new Uint8Array(0), new Uint8Array(7), new Uint8Array(100), new Uint8Array(400_000)];
  for (const data of all) await bob.handle({ type: "envelope", data: data.slice().buffer });
  await world.settle();
  assert.deepEqual(bob.heard().map((m) => m.body), [{ id: "1", text: "once" }]);
  assert.equal(JSON.stringify(bob.membership()), before);
  assert.ok(bob.dropped("envelope_refused") > 5);
  await alice.handle({ type: "app", kind: "chat", body: { id: "2", text: "twice" } });
  await world.settle();
  assert.equal(bob.heard().length, 2, "the next one comes");
});

test("29: no key and nonce comes twice over restarts, reconnects and layer toggles", async () => {
  const { world, bob } = await call();
  const storage = memoryStorage();
  const seen = new Set<string>();
  let frames = 0;
  const subtle = crypto.subtle;
  const importKey = subtle.importKey.bind(subtle) as (...a: unknown[]) => Promise<CryptoKey>;
  const encrypt = subtle.encrypt.bind(subtle) as (...a: unknown[]) => Promise<ArrayBuffer>;
  const raw = new WeakMap<CryptoKey, string>();
  Object.assign(subtle, {
    importKey: async (format: string, data: Bytes, ...rest: unknown[]) => {
      const bytes = format === "raw" ? toHex(new Uint8Array(data)) : "";
      const key = await importKey(format, data, ...rest);
      raw.set(key, bytes);
      return key;
    },
    encrypt: (a: { iv: Bytes }, key: CryptoKey, data: Bytes) => {
      const pair = `${raw.get(key)} ${toHex(a.iv)}`;
      assert.ok(raw.get(key), "a key of unknown origin");
      assert.ok(!seen.has(pair), "a nonce came twice");
      seen.add(pair);
      frames++;
      return encrypt(a, key, data);
    },
  });
  try {
    for (let restart = 0; restart < 2; restart++) {
      const e = await world.participant("Dan", storage); // the same link and identity, in the end the same leaf
      for (let reset = 0; reset < 2; reset++) {
        await world.enter(e);
        await world.until(() => e.of("membership").at(-1)?.members.length === 3 && bob.membership().members.length === 3);
        await world.advance(500);
        for (let connection = 0; connection < 2; connection++) {
          // Two transforms of one source at once: layers, or an old and a new connection.
          await Promise.all([send(e, "camera", "video/VP8", video(20)), send(e, "camera", "video/VP8", video(20)), send(e, "mic", "audio/opus", video(20))]);
        }
        await world.leave(e);
        await world.until(() => bob.membership().members.length === 2);
        await e.handle({ type: "reset" });
      }
    }
  } finally {
    Object.assign(subtle, { importKey, encrypt });
  }
  assert.equal(frames, seen.size);
  assert.equal(frames, 2 * 2 * 2 * 60);
});

test("29: a counter ends at 2^32", async () => {
  const k = new SendKey(await deriveFrameKey(new Uint8Array(16), makeKID(1, 0, 0), "encrypt"), maxCTR - 1);
  assert.equal(k.take(), maxCTR - 1);
  assert.equal(k.take(), null);
  assert.equal(k.take(), null);
  assert.equal(k.peek(), maxCTR);
});

test("30: a KID has one key, and no other is tried", async () => {
  const { alice, bob, receive } = await call();
  let tried = 0;
  const decrypt = crypto.subtle.decrypt;
  const [sealed] = await send(alice, "camera", "video/VP9", video(1));
  sealed![sealed!.length - 1]! ^= 1;
  Object.assign(crypto.subtle, { decrypt: (...a: Parameters<SubtleCrypto["decrypt"]>) => (tried++, decrypt.apply(crypto.subtle, a)) });
  try {
    receive.put(frame("video/VP9", sealed!));
    await receive.end();
  } finally {
    delete (crypto.subtle as { decrypt?: unknown }).decrypt;
  }
  assert.equal(tried, 1);
  assert.equal(bob.dropped("e2ee_auth_fail"), 1);
});

test("a reset forgets the room and takes a fresh connection id", async () => {
  const { world, alice, bob, receive } = await call();
  const before = bob.connId;
  await world.leave(bob);
  await bob.handle({ type: "reset" });
  assert.notEqual(bob.connId, before);
  assert.equal(bob.of("ready")[0]!.roomId, bob.of("ready")[1]!.roomId);
  for (const f of await send(alice, "camera", "video/VP9", video(1))) receive.put(frame("video/VP9", f));
  await settle();
  assert.equal(receive.out.length, 0);
  await world.enter(bob);
  await world.until(() => bob.of("membership").at(-1)?.state === "member" && alice.membership().members.length === 2);
  await world.advance(500);
  await bind(bob, alice);
  for (const f of await send(alice, "camera", "video/VP9", video(1))) receive.put(frame("video/VP9", f));
  await receive.end();
  assert.equal(receive.out.length, 1, "the frame of the new epoch, not the one before");
});

test("source, leaf and epoch are in the KID", async () => {
  const { bob } = await call();
  const { epoch } = bob.membership();
  for (const [source, kid] of [["mic", 0x100], ["camera", 0x10100], ["screen", 0x20100], ["screen_audio", 0x30100]] as const) {
    const [sealed] = await send(bob, source, "video/VP9", video(1));
    assert.equal(parseHeader(sealed!)!.kid, kid + epoch);
  }
});

test("messages out of order and false numbers change nothing", async () => {
  const e = new Participant(new World());
  const id = toBase64url(new Uint8Array(16).fill(1));
  await e.handle({ type: "connect", nonce: "AAAA" });
  await e.handle({ type: "init", secret: null, gen: 0, host: "h" });
  await e.handle({ type: "init", secret: null, gen: 0, host: "h" });
  await e.handle({ type: "connect", nonce: "AAAA" });
  await e.handle({ type: "peer_joined", connId: id });
  await e.handle({ type: "welcome", peers: ["x"], group: null });
  await e.handle({ type: "welcome", peers: [], group: null });
  await e.handle({ type: "stale", group: { gi: id, slot: -1 } });
  await e.handle({ type: "app", kind: "chat", body: { id: "", text: "x" } });
  assert.deepEqual(e.of("error").map((m) => m.code), Array(8).fill("bad_message"));
  for (const m of [{ type: "kick", connId: id }, { type: "rotate" }, { type: "policy", locked: true, knock: true }] as const) await e.handle(m);
  assert.deepEqual(e.of("error").slice(8).map((m) => m.code), Array(3).fill("not_member"));
  assert.equal(e.of("ready").length, 1);
  assert.ok(fromBase64url(e.secret, 32));
});

test("a frame that the platform fails to encrypt is dropped and counted, and the next one passes", async (t) => {
  const { alice } = await call();
  const seal = t.mock.method(crypto.subtle, "encrypt", () => Promise.reject(new DOMException("", "OperationError")), { times: 1 });
  const sent = await send(alice, "camera", "video/VP8", video(2));
  assert.equal(sent.length, 1);
  assert.equal(alice.dropped("e2ee_seal_fail"), 1);
  assert.equal(alice.sums().framesProtected, 1);
  seal.mock.restore();
});

test("a participation that goes on over another connection keeps its keys and counters", async () => {
  const { world, alice, bob, receive } = await call();
  const before = await send(alice, "camera", "video/VP8", video(2));
  await alice.handle({ type: "resumed", peers: [bob.connId], group: world.position, lost: false });
  await world.settle();
  const after = await send(alice, "camera", "video/VP8", video(2));
  for (const f of [...before, ...after]) receive.put(frame("video/VP8", f));
  await receive.end();
  assert.equal(receive.out.length, 4);
  assert.deepEqual(bob.sums().dropped, {});
  assert.deepEqual([...bob.of("error"), ...alice.of("error")], []);
  assert.equal(new Set([...before, ...after].map(toHex)).size, 4);
});
