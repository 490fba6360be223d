// One connection of this client: who is in the room, whose key opens which
// frame, what is told to the others. After a lost connection there is a new
// Session, with a new connection id and new randomness: no key, and so no key
// and nonce, is used by two of them.

import { fromBase64url, toBase64url, utf8, concat, type Bytes } from "./encoding.ts";
import { Opener, parseEnvelope, Sealer } from "./envelope.ts";
import { connIdSize, random16, type LinkKeys } from "./link.ts";
import type { DropReason, FromWorker, PeerInfo, PeerState, SlotInfo, Source, TestConfig } from "./messages.ts";
import { acceptName } from "./profile.ts";
import { ReceiveKey, type Binding } from "./receive.ts";
import { SendKey } from "./send.ts";
import { contexts, deriveFrameKey, makeKID, maxCTR } from "./sframe.ts";

const messageSender = 1;
const messageHeartbeat = 2;
const messageProfile = 3;
/** Messages are filled with spaces to a multiple of this, so that sizes tell little. */
const padding = 256;
const maxPeers = 255;
/** Connections that are gone and never come back. Full: newcomers are refused. */
const maxLeft = 1 << 16;
const maxSlots = 128;
/** So many frames in a row must fail before a peer is shown as mismatched. */
const mismatchAfter = 8;
const heartbeatMinMs = 5000;

interface Peer {
  connId: string;
  id: Bytes;
  leaf: number;
  state: PeerState;
  opener: Opener;
  /** base64url of the first announcement. */
  random: string | null;
  keys: Map<number, ReceiveKey>; // by KID
  failures: number;
}

export interface SessionContext {
  post(m: FromWorker): void;
  drop(reason: DropReason): void;
  /** Keys or bindings have changed. */
  release(): void;
  /** Set in test bundles only. */
  test: TestConfig | null;
}

/** Methods that return a promise must not overlap: the worker runs them one after another. */
export class Session {
  readonly connId: string;
  private leaf: number | null = null;
  private name = "";
  private readonly random = random16();
  private readonly peers = new Map<string, Peer>();
  private readonly left = new Set<string>();
  private readonly sendKeys = new Map<Source, SendKey>();
  private slots = new Map<string, Binding>();

  private constructor(
    private readonly keys: LinkKeys,
    private readonly id: Bytes,
    private readonly sealer: Sealer,
    private readonly context: SessionContext,
  ) {
    this.connId = toBase64url(id);
  }

  static async create(keys: LinkKeys, context: SessionContext): Promise<Session> {
    const id = random16();
    return new Session(keys, id, await Sealer.create(keys, id), context);
  }

  async connectSignature(host: string, nonce: string): Promise<string> {
    const bytes = fromBase64url(nonce);
    if (!bytes || bytes.length < 16 || bytes.length > 64) throw new RangeError("nonce");
    return toBase64url(await this.keys.connectSignature(host, bytes, this.id));
  }

  async welcome(leaf: number, peers: PeerInfo[]): Promise<void> {
    if (this.leaf !== null || !isLeaf(leaf)) throw new RangeError("welcome");
    this.leaf = leaf;
    const base = await this.base(this.random, this.id);
    for (const [context, source] of contexts.entries()) {
      this.sendKeys.set(source, new SendKey(await deriveFrameKey(base, makeKID(context, leaf, 0), "encrypt")));
    }
    base.fill(0);
    for (const p of peers) await this.add(p);
    await this.announce(null);
  }

  /** setName tells everybody a new name; before welcome it is kept until then. */
  async setName(name: string): Promise<void> {
    if (name === this.name) return;
    this.name = name;
    if (this.leaf !== null) await this.tellName(null);
  }

  async peerJoined(p: PeerInfo): Promise<void> {
    if (this.leaf === null) throw new RangeError("peer_joined before welcome");
    const known = this.peers.get(p.connId);
    const peer = known?.leaf === p.leaf ? known : await this.add(p);
    if (peer) await this.announce(peer.id);
  }

  /** resumed tells everybody the same announcement again. */
  async resumed(): Promise<void> {
    if (this.leaf === null) throw new RangeError("resumed before welcome");
    await this.announce(null);
  }

  peerLeft(connId: string): void {
    if (!this.peers.delete(connId)) return;
    this.left.add(connId);
    this.context.release();
  }

  setSlots(list: SlotInfo[]): void {
    const next = new Map<string, Binding>();
    for (const { mid, connId, source } of list.slice(0, maxSlots)) {
      if (!contexts.includes(source) || next.has(mid)) continue;
      const old = this.slots.get(mid);
      // An unchanged binding stays the same object: its timeline goes on.
      next.set(mid, old?.connId === connId && old.source === source ? old : { connId, source });
    }
    this.slots = next;
    this.context.release();
  }

  async envelope(data: Bytes): Promise<void> {
    const e = data.length > 8 ? parseEnvelope(data.subarray(8)) : null; // u64 seq of the service
    if (!e) return this.context.drop("envelope_malformed");
    const p = this.peers.get(e.from);
    if (!p) return this.context.drop("envelope_unknown_sender");
    if (!e.plain || (e.to !== null && e.to !== this.connId)) return this.context.drop("envelope_refused");
    const opened = await p.opener.open(e);
    if ("refused" in opened) return this.context.drop(opened.refused);
    const body = parseBody(opened.message);
    let ok = true;
    if (opened.message[0] === messageSender) ok = await this.announced(p, body);
    else if (opened.message[0] === messageHeartbeat) ok = this.heartbeatFrom(p, body);
    else if (opened.message[0] === messageProfile) ok = this.profileFrom(p, body);
    // Other types are of later versions.
    if (!ok) this.context.drop("envelope_refused");
  }

  // Frames.

  sendKey(source: Source): SendKey | null {
    return this.sendKeys.get(source) ?? null;
  }

  binding(mid: string): Binding | null {
    return this.slots.get(mid) ?? null;
  }

  receiveKey(connId: string, kid: number): ReceiveKey | null {
    return this.peers.get(connId)?.keys.get(kid) ?? null;
  }

  opened(connId: string): void {
    const p = this.peers.get(connId);
    if (!p) return;
    p.failures = 0;
    this.setState(p, "encrypted");
  }

  authFailed(connId: string): void {
    const p = this.peers.get(connId);
    if (p && ++p.failures === mismatchAfter) this.setState(p, "mismatch");
  }

  // Heartbeats.

  heartbeatEveryMs(): number {
    return Math.max(heartbeatMinMs, (this.peers.size + 1) * 100);
  }

  async heartbeat(): Promise<void> {
    if (this.leaf === null) return;
    const ctr: Record<string, number> = {};
    for (const [context, source] of contexts.entries()) {
      const next = this.sendKeys.get(source)?.peek() ?? 0;
      if (next > 0) ctr[context] = next;
    }
    // Who sends no media has nothing to bound; an audience of hundreds stays silent.
    if (Object.keys(ctr).length === 0) return;
    await this.send(null, messageHeartbeat, { ctr });
  }

  private async add(info: PeerInfo): Promise<Peer | null> {
    const id = fromBase64url(info.connId, connIdSize);
    if (
      !id || !isLeaf(info.leaf) || info.connId === this.connId || this.peers.has(info.connId) ||
      this.left.has(info.connId) || this.peers.size >= maxPeers || this.left.size + this.peers.size >= maxLeft
    ) {
      this.context.post({ type: "error", code: "bad_message", message: "the roster contradicts itself" });
      return null;
    }
    // Two senders of one leaf could not be told apart by KID. The first stays.
    if (info.leaf === this.leaf || [...this.peers.values()].some((p) => p.leaf === info.leaf)) {
      this.context.post({ type: "peer_state", connId: info.connId, state: "mismatch" });
      return null;
    }
    const p: Peer = {
      connId: info.connId, id, leaf: info.leaf, state: "waiting",
      opener: await Opener.create(this.keys, id), random: null, keys: new Map(), failures: 0,
    };
    this.peers.set(p.connId, p);
    this.context.post({ type: "peer_state", connId: p.connId, state: "waiting" });
    return p;
  }

  private async announce(to: Bytes | null): Promise<void> {
    await this.send(to, messageSender, { conn_id: this.connId, leaf: this.leaf, random: toBase64url(this.random) });
    await this.tellName(to);
  }

  private async tellName(to: Bytes | null): Promise<void> {
    if (this.name !== "") await this.send(to, messageProfile, { name: this.name });
  }

  private async send(to: Bytes | null, type: number, body: object): Promise<void> {
    const envelope = await this.sealer.seal(to, encodeMessage(type, body));
    this.context.post({ type: "send", data: envelope.buffer });
  }

  private async announced(p: Peer, body: Record<string, unknown> | null): Promise<boolean> {
    const random = fromBase64url(body?.random, 16);
    if (!body || !random || !isLeaf(body.leaf)) return false;
    if (body.conn_id !== p.connId || body.leaf !== p.leaf) {
      if (p.state === "waiting") this.setState(p, "mismatch");
      return false;
    }
    // The first announcement stands; every joiner hears it twice.
    if (p.random !== null) return p.random === body.random;
    p.random = toBase64url(random);
    const base = await this.base(random, p.id);
    for (const [context, source] of contexts.entries()) {
      const kid = makeKID(context, p.leaf, 0);
      p.keys.set(kid, new ReceiveKey(await deriveFrameKey(base, kid, "decrypt"), source));
    }
    base.fill(0);
    this.setState(p, "encrypted");
    this.context.release();
    return true;
  }

  private heartbeatFrom(p: Peer, body: Record<string, unknown> | null): boolean {
    const ctr = body?.ctr;
    if (typeof ctr !== "object" || ctr === null) return false;
    for (const context of contexts.keys()) {
      const next: unknown = (ctr as Record<string, unknown>)[context];
      if (next === undefined) continue;
      if (typeof next !== "number" || !Number.isInteger(next) || next < 0 || next > maxCTR) return false;
      p.keys.get(makeKID(context, p.leaf, 0))?.window.heartbeat(next);
    }
    return true;
  }

  private profileFrom(p: Peer, body: Record<string, unknown> | null): boolean {
    const name = acceptName(body?.name);
    if (name === null) return false;
    this.context.post({ type: "profile", connId: p.connId, name });
    return true;
  }

  private async base(random: Bytes, connId: Bytes): Promise<Bytes> {
    const base = await this.keys.senderBase(random, connId);
    if (SOTTO_TEST_HOOKS && this.context.test?.wrongMediaKey) base[0]! ^= 1;
    return base;
  }

  private setState(p: Peer, state: PeerState): void {
    if (p.state === state) return;
    p.state = state;
    this.context.post({ type: "peer_state", connId: p.connId, state });
  }
}

function isLeaf(leaf: unknown): leaf is number {
  return typeof leaf === "number" && Number.isInteger(leaf) && leaf >= 0 && leaf <= 255;
}

/** u8 type || JSON || spaces, which JSON ignores. */
export function encodeMessage(type: number, body: object): Bytes {
  const text = utf8(JSON.stringify(body));
  const spaces = (padding - ((1 + text.length) % padding)) % padding;
  return concat(Uint8Array.of(type), text, new Uint8Array(spaces).fill(0x20));
}

function parseBody(message: Bytes): Record<string, unknown> | null {
  try {
    const body: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(message.subarray(1)));
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
