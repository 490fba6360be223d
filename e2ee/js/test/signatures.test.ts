// Delayed signatures of media: what is noticed of frames that a member forges,
// and that honest streams are not suspected.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/encoding.ts";
import { av1, opus, parseFrame, protect, vp8, vp9 } from "../src/frame.ts";
import { digestOf, Ledger, type Verdict } from "../src/ledger.ts";
import { listsOf, maxSigned, readList } from "../src/signatures.ts";
import { expandFrameKey, makeKID } from "../src/sframe.ts";
import { FakeTransform, frame, settle, until, World, type Participant } from "./fixtures.ts";

const plain = (text: string): Bytes => new TextEncoder().encode("\x01" + text) as Bytes;

// Digests are made in other threads: how many were asked for, and are not there.
let digests = 0;
let pending = 0;
const digest = crypto.subtle.digest.bind(crypto.subtle);
Object.assign(crypto.subtle, {
  digest: (...a: Parameters<SubtleCrypto["digest"]>) => {
    digests++;
    pending++;
    return digest(...a).finally(() => pending--);
  },
});

/** alice's camera as bob and carol see it; everybody signs. */
async function call(): Promise<Call> {
  const { world, people } = await World.of("Alice", "Bob", "Carol");
  for (const p of people) await p.handle({ type: "sign_media", on: true });
  return new Call(world, people as [Participant, Participant, Participant]).begin();
}

class Call {
  readonly alice: Participant;
  readonly bob: Participant;
  readonly carol: Participant;
  readonly send: FakeTransform;
  readonly receive: FakeTransform;
  rtp = 0;

  constructor(readonly world: World, [alice, bob, carol]: [Participant, Participant, Participant]) {
    this.alice = alice;
    this.bob = bob;
    this.carol = carol;
    this.send = new FakeTransform(alice, { side: "send", source: "camera" });
    this.receive = new FakeTransform(bob, { side: "receive", mid: "0" });
  }

  async begin(): Promise<this> {
    await this.bob.handle({ type: "slots", slots: [{ mid: "0", connId: this.alice.connId, source: "camera" }] });
    await this.second();
    return this;
  }

  /** Lets a second pass, with what everybody tells in it. */
  async second(): Promise<void> {
    await this.digested();
    for (const p of this.world.room) await p.enqueue(() => p.beat());
    await this.world.advance(1000);
    await this.digested();
  }

  private async digested(): Promise<void> {
    await until(() => pending === 0);
    await settle();
  }

  async make(n = 1): Promise<Bytes[]> {
    for (let i = 0; i < n; i++) this.send.put(frame("video/VP9", plain(`picture ${this.rtp + i}`)));
    return this.send.take(n);
  }

  /** Frames that bob gets; those that pass come out. */
  async show(frames: Bytes[]): Promise<void> {
    const before = this.handled();
    for (const f of frames) this.receive.put(frame("video/VP9", f, (this.rtp += 3000)));
    await until(() => this.handled() === before + frames.length);
    await this.digested();
  }

  /** Frames of which bob has made something. */
  private handled(): number {
    const { framesOpened, dropped } = this.bob.sums();
    return framesOpened + Object.values(dropped).reduce((n, d) => n + d, 0);
  }

  get state(): string | undefined {
    return this.bob.state(this.alice.connId);
  }
}

/** A frame of a victim, as every member can make it: with the group's keys. */
async function forge(member: Participant, leaf: number, ctr: number): Promise<Bytes> {
  const { current } = member["session"]!.participation!["epochs"] as unknown as { current: { number: number; secret: Promise<CryptoKey> } };
  const key = await expandFrameKey(await current.secret, makeKID(1, leaf, current.number % 256), "encrypt");
  return protect(key, ctr, vp9, false, plain("a lie"));
}

const next = (last: Bytes): number => parseFrame(vp9, last)!.ctr + 1;

test("23: a frame that a member made under another's name is noticed, and nothing of that person is shown any more", async () => {
  const c = await call();
  for (let i = 0; i < 2; i++) {
    await c.show(await c.make(10));
    await c.second();
  }
  await c.show(await c.make(10));
  await c.second();
  await until(() => c.bob.sums().framesVerified >= 10);
  assert.equal(c.state, "encrypted");
  const [last] = await c.make();
  await c.show([last!]);
  const shown = c.receive.out.length;
  await c.show([await forge(c.carol, 0, next(last!))]);
  await until(() => c.receive.out.length === shown + 1); // it opens
  await c.show(await c.make()); // the true one is a replay
  await c.second();
  await c.second();
  await until(() => c.state === "forged");
  assert.equal(c.bob.sums().framesForged, 1);
  for (let i = 0; i < 8; i++) {
    await c.show(await c.make(3));
    await c.second();
  }
  assert.equal(c.state, "forged");
  assert.equal(c.receive.out.length, shown + 1);
  assert.equal(c.bob.dropped("e2ee_forged"), 24);
  assert.equal(c.carol.state(c.alice.connId), "encrypted");
});

test("23: also a frame that comes after the list of the true one, which the service kept back", async () => {
  const c = await call();
  await c.show(await c.make(5));
  await c.second();
  const [kept] = await c.make();
  await c.second();
  await c.second();
  await c.show([await forge(c.carol, 0, next(kept!) - 1)]);
  await until(() => c.state === "forged");
});

test("loss, reordering, replays and a change of epoch are not suspected", async () => {
  const c = await call();
  let made = 0;
  for (let i = 0; i < 14; i++) {
    if (i === 4) await c.world.enter(await c.world.participant("Dan"));
    const frames = await c.make(12);
    frames.splice(made % 7, 1); // lost
    [frames[2], frames[3]] = [frames[3]!, frames[2]!];
    frames.push(frames[5]!); // comes twice
    made += 10;
    await c.show(frames);
    await c.second();
  }
  const { framesVerified, framesForged, framesUnverified, dropped } = c.bob.sums();
  assert.deepEqual([framesForged, framesUnverified, dropped.e2ee_auth_fail], [0, 0, undefined]);
  assert.ok(framesVerified > 80, `${framesVerified} verified`);
  assert.deepEqual(new Set(c.bob.of("peer_state").map((m) => m.state)), new Set(["encrypted"]));
});

test("a list that is lost shows for a while and is no attack", async () => {
  const c = await call();
  await c.show(await c.make(5));
  await c.second();
  await c.show(await c.make(5));
  await settle();
  c.alice["session"]!.participation!["signatures"].take(3, 0); // lost
  for (let i = 0; i < 6; i++) {
    await c.second();
    assert.equal(c.state, "encrypted");
  }
  await c.second();
  await until(() => c.state === "unverified");
  assert.equal(c.bob.sums().framesUnverified, 5);
  await c.show(await c.make(5)); // what is told of does not end the doubt at once
  await c.second();
  assert.equal(c.state, "unverified");
  for (let i = 0; i < 5; i++) await c.second();
  assert.equal(c.state, "encrypted");
  assert.equal(c.bob.sums().framesForged, 0);
});

test("who does not sign is not expected to, and who stops says so", async () => {
  const { world, people } = await World.of("Alice", "Bob", "Carol");
  const c = await new Call(world, people as [Participant, Participant, Participant]).begin();
  const before = digests;
  for (let i = 0; i < 8; i++) {
    await c.show(await c.make(3));
    await c.second();
  }
  assert.equal(digests, before, "work for an option that is off");
  await c.alice.handle({ type: "sign_media", on: true });
  for (let i = 0; i < 4; i++) {
    await c.second();
    await c.show(await c.make(3));
  }
  await until(() => c.bob.sums().framesVerified > 0);
  await c.alice.handle({ type: "sign_media", on: false });
  for (let i = 0; i < 12; i++) {
    await c.second();
    await c.show(await c.make(3));
  }
  assert.equal(c.state, "encrypted");
  assert.equal(c.bob.sums().framesUnverified, 0);
});

test("lists fit into messages and tell of every frame", () => {
  for (const step of [1, 2]) {
    const frames = Array.from({ length: 2048 }, (_, i) => ({ epoch: 3, context: i % 2, ctr: 2 ** 31 + step * i, digest: BigInt(i) }));
    const told = new Set<string>();
    for (const list of listsOf([...frames].reverse())) {
      const text = JSON.stringify(list);
      assert.ok(text.length <= 30 << 10, `${text.length} bytes`);
      const read = readList(JSON.parse(text) as Record<string, unknown>)!;
      assert.equal(read.epoch, 3);
      for (const { context, from, digests } of read.runs) for (const [i, d] of digests.entries()) told.add(`${context} ${from + i} ${d}`);
    }
    for (const f of frames) assert.ok(told.has(`${f.context} ${f.ctr} ${f.digest}`));
    assert.equal(told.size, frames.length);
  }
});

test("lists of the wrong shape are refused whole", () => {
  const run = { from: 7, sums: "AAECAwQFBgc" };
  assert.deepEqual(readList({ epoch: 3, frames: { "1": [run], "9": "later" }, more: 1 }), {
    epoch: 3, runs: [{ context: 1, from: 7, digests: [0x0001020304050607n] }], last: false,
  });
  assert.deepEqual(readList({ epoch: 0, frames: {}, last: true }), { epoch: 0, runs: [], last: true });
  const wide = Object.fromEntries(Array.from({ length: maxSigned + 1 }, (_, i) => [i, [run]]));
  for (const body of [
    null, {}, { epoch: 3 }, { epoch: -1, frames: {} }, { epoch: 2 ** 53, frames: {} }, { epoch: 3, frames: null }, { epoch: 3, frames: wide },
    { epoch: 3, frames: { "1": run } }, { epoch: 3, frames: { "1": [null] } }, { epoch: 3, frames: { "1": [{ ...run, from: -1 }] } },
    { epoch: 3, frames: { "1": [{ ...run, from: 2 ** 32 }] } }, { epoch: 3, frames: { "1": [{ ...run, sums: "" }] } },
    { epoch: 3, frames: { "1": [{ ...run, sums: "AAEC" }] } }, { epoch: 3, frames: { "1": [run, { from: 8 }] } }, { epoch: 3, frames: {}, last: 1 },
  ] as (Record<string, unknown> | null)[]) {
    assert.equal(readList(body), null, JSON.stringify(body));
  }
});

test("a ledger compares in either order, and says what it cannot compare", () => {
  const cases: Record<string, [(l: Ledger) => Verdict, Verdict]> = {
    "opened, then told": [(l) => (l.open(0, 5, 1n), l.tell(5, 1n)), "genuine"],
    "told, then opened": [(l) => (l.tell(5, 1n), l.open(0, 5, 1n)), "genuine"],
    "another was told": [(l) => (l.open(0, 5, 1n), l.tell(5, 2n)), "contradicted"],
    "another is opened": [(l) => (l.tell(5, 1n), l.open(0, 5, 2n)), "contradicted"],
    "the first word counts": [(l) => (l.tell(5, 1n), l.tell(5, 2n), l.open(0, 5, 1n)), "genuine"],
    "never told": [(l) => (l.open(0, 5, 1n), l.tell(5 + 256, 2n)), "unchecked"],
    "pushed out": [(l) => (l.open(0, 5, 1n), l.open(0, 5 + 256, 2n)), "unchecked"],
    "the list is forgotten": [(l) => (l.tell(5 + 256, 1n), l.open(0, 5, 1n)), "unchecked"],
    "from before": [(l) => l.open(0, 2, 1n), "undecided"],
  };
  for (const [name, [run, want]] of Object.entries(cases)) assert.equal(run(new Ledger(256, 3)), want, name);
  const l = new Ledger(256, 0);
  l.open(1000, 5, 1n);
  assert.deepEqual([l.overdue(6000), l.overdue(6001), l.overdue(9000)], [0, 1, 0]);
  assert.equal(l.tell(5, 2n), "contradicted");
});

test("digests are of the frame on the wire", async () => {
  const wire = Uint8Array.from({ length: 60 }, (_, i) => i); // KID 0, CTR 0
  const want = new DataView(await crypto.subtle.digest("SHA-256", wire)).getBigUint64(0);
  assert.equal(await digestOf(parseFrame(opus, wire)!), want);
  const video = Uint8Array.of(0x10, ...wire);
  const wantVideo = new DataView(await crypto.subtle.digest("SHA-256", video)).getBigUint64(0);
  assert.equal(await digestOf(parseFrame(vp8, video)!), wantVideo);
  // AV1: whatever a depacketizer made of the OBU around it.
  const obu = Uint8Array.of(0x0a, ...wire);
  const wantObu = new DataView(await crypto.subtle.digest("SHA-256", obu)).getBigUint64(0);
  for (const received of [[0x0a, 60, ...wire], [0x12, 0, 0x0a, 60, ...wire], [0x08, ...wire]]) {
    assert.equal(await digestOf(parseFrame(av1, Uint8Array.from(received))!), wantObu);
  }
});
