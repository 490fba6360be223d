// One connection of this client: its place in the group, the keys that come of
// it, and what is said in the group. After a participation there is a new one,
// with a new connection id and a machine of its own.

import { encodeApp, decodeApp, kindHeartbeat, kindSignatures, parseObject } from "./app.ts";
import { groupCode, personCode, show } from "./codes.ts";
import { fromBase64url, toBase64url, utf8, type Bytes } from "./encoding.ts";
import { Epochs } from "./epochs.ts";
import type { Files } from "./files.ts";
import { parseFrame, type ParsedFrame } from "./frame.ts";
import { fingerprintOf, shown, type Identity } from "./identity.ts";
import { connIdSize } from "./link.ts";
import type { Actions, EpochKeys, GroupState, Machine, Outcome, Person, Position } from "./machine.ts";
import type {
  AppMessage, DropReason, ErrorCode, FromWorker, GroupPosition, Known, SlotInfo, Source, TestConfig,
} from "./messages.ts";
import { PeerStates } from "./peer_states.ts";
import { alike, type People } from "./people.ts";
import type { Binding, ReceiveKey } from "./receive.ts";
import type { RoomMemory } from "./rooms.ts";
import type { SendKey } from "./send.ts";
import { contextOf, contexts } from "./sframe.ts";
import { Signing } from "./signatures.ts";
import { Verification } from "./verification.ts";

const maxSlots = 128;
const maxPeers = 4096;
const heartbeatMinMs = 5000;
const nobody = "AAAAAAAAAAAAAAAAAAAAAA"; // connection id zero

export interface ParticipationContext {
  post(m: FromWorker): void;
  drop(reason: DropReason): void;
  error(code: ErrorCode, message: string): void;
  /** Keys or bindings have changed. */
  release(): void;
  /** Runs after what is under way. */
  enqueue(task: () => Promise<void> | void): void;
  /** Calls tick at that time, ms since 1970, instead of at the one before. */
  wake(at: number): void;
  /** Milliseconds since 1970; never goes back. */
  time(): number;
  verified(what: "framesVerified" | "framesForged" | "framesUnverified", n: number): void;
  /** The group has another link. */
  renamed(secret: Bytes, gen: number): Promise<void>;
  /** Set in test bundles only. */
  test: TestConfig | null;
}

/** A member or a person who waits, as the page knows them. */
interface Acquaintance {
  connId: string;
  name: string;
  /** Whole. */
  fingerprint: string;
  known: Known;
}

/** Methods that return a promise must not overlap: the worker runs them one after another. */
export class Participation {
  private readonly epochs = new Epochs();
  private state: GroupState | null = null;
  private members: (Acquaintance & { host: boolean })[] = [];
  private waiting: Acquaintance[] = [];
  private readonly fingerprints = new Map<string, string>(); // by key, base64url
  private slots = new Map<string, Binding>();
  private readonly peerStates: PeerStates;
  private readonly signatures = new Signing();
  private readonly verification: Verification;
  private signing: Promise<void> = Promise.resolve();
  private heartbeatAt = Infinity;
  private hostTold = ""; // another host than the person knows
  private over = false;

  constructor(
    readonly connId: string,
    private readonly machine: Machine,
    private readonly identity: Identity,
    private readonly people: People,
    private readonly room: RoomMemory,
    private readonly files: Files,
    private readonly context: ParticipationContext,
  ) {
    this.peerStates = new PeerStates((connId, state) => context.post({ type: "peer_state", connId, state }));
    this.verification = new Verification(this.epochs, this.peerStates, {
      time: () => context.time(),
      members: () => this.state?.members.length ?? 0,
      verified: (what, n) => context.verified(what, n),
    });
  }

  /** Nothing more comes from here, and no frame passes. */
  end(): void {
    this.over = true;
    this.epochs.stop();
  }

  // Signaling.

  welcome(peers: string[], group: GroupPosition | null): Promise<void> {
    return this.signaled(this.machine.welcome(this.now, connIds(peers), position(group)));
  }

  resumed(peers: string[], group: GroupPosition | null, lost: boolean): Promise<void> {
    return this.signaled(this.machine.resumed(this.now, connIds(peers), position(group), lost));
  }

  peers(all: string[]): Promise<void> {
    return this.signaled(this.machine.peers(this.now, connIds(all)));
  }

  peerJoined(connId: string): Promise<void> {
    return this.signaled(this.machine.peerJoined(this.now, connIdOf(connId)));
  }

  peerLeft(connId: string): Promise<void> {
    return this.signaled(this.machine.peerLeft(this.now, connIdOf(connId)));
  }

  position(group: GroupPosition | null): Promise<void> {
    return this.signaled(this.machine.position(this.now, position(group)));
  }

  stale(group: GroupPosition | null): Promise<void> {
    return this.signaled(this.machine.stale(this.now, position(group)));
  }

  envelope(data: Bytes): Promise<void> {
    const outcome = this.machine.envelope(this.now, data);
    if (outcome.refused) this.context.drop("envelope_refused");
    return this.apply(outcome);
  }

  tick(): Promise<void> {
    return this.apply(this.machine.tick(this.now));
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

  /** Of the room, if this client founded its group. */
  hostToken(): string | null {
    return this.state?.isHost ? toBase64url(this.room.hostToken) : null;
  }

  /** The room has another link. */
  renamed(roomId: string): void {
    this.room.renamed(roomId);
  }

  // The person.

  admit(connId: string): Promise<void> {
    return this.asked("admit", this.machine.admit(this.now, connIdOf(connId)));
  }

  refuse(connId: string): Promise<void> {
    return this.asked("refuse", this.machine.refuse(this.now, connIdOf(connId)));
  }

  async kick(connId: string): Promise<void> {
    const outcome = this.machine.kick(this.now, connIdOf(connId));
    await this.asked("kick", outcome);
    // The service ends the connection at once; the group locks it out by itself.
    if (!outcome.refused) this.context.post({ type: "evict", connId, hostToken: toBase64url(this.room.hostToken) });
  }

  setPolicy(locked: boolean, knock: boolean): Promise<void> {
    return this.asked("policy", this.machine.setPolicy(this.now, locked, knock));
  }

  rotate(): Promise<void> {
    return this.asked("rotate", this.machine.rotate(this.now));
  }

  async say(m: AppMessage): Promise<void> {
    const encoded = encodeApp(m, m.kind === "file" ? this.files.sealed(m.body.id) : null);
    if (!encoded) return this.context.error("bad_message", m.kind);
    return this.asked("app", this.machine.send(this.now, encoded.kind, encoded.body));
  }

  /** Takes a while: not one of the calls that must not overlap. */
  async codes(): Promise<void> {
    const secrets = this.machine.secrets();
    if (!secrets) return this.context.post({ type: "codes", group: null, persons: [] });
    const own = hexBytes(this.identity.fingerprint);
    const others = this.members.filter((m) => m.connId !== this.connId);
    const persons = others.map(async ({ connId, fingerprint }) => ({
      connId, code: show(await personCode(own, hexBytes(fingerprint))),
    }));
    const group = show(await groupCode(secrets.authenticator, secrets.groupId));
    secrets.authenticator.fill(0);
    this.context.post({ type: "codes", group, persons: await Promise.all(persons) });
  }

  async verify(fingerprint: string, verified: boolean): Promise<void> {
    const found = [...this.members, ...this.waiting].filter((p) => shown(p.fingerprint) === fingerprint);
    const [person] = found;
    // Two keys that look alike to people: neither can be meant.
    if (!person || found.some((p) => p.fingerprint !== person.fingerprint)) {
      return this.context.error("unknown_person", "verify");
    }
    this.people.verify(person.fingerprint, person.name, verified, this.now);
    for (const p of found) p.known = this.people.meet(p.fingerprint, p.name, this.now);
    this.tellMembership();
    this.tellKnocks();
  }

  /** Tell the others which frames were sent, or no more. */
  signMedia(on: boolean): void {
    this.signatures.wanted = on;
  }

  // Every second.

  async beat(): Promise<void> {
    await this.heartbeat();
    await this.tellFrames();
    this.verification.check();
  }

  private async heartbeat(): Promise<void> {
    if (this.now < this.heartbeatAt || !this.state) return;
    const ctr = this.epochs.counters();
    // Who sends no media has nothing to bound. The counters are of the epoch that
    // media is sent in; the message may be sealed in a later one.
    const epoch = this.epochs.sendEpoch();
    if (Object.keys(ctr).length === 0 || epoch === null) return;
    this.heartbeatAt = this.now + Math.max(heartbeatMinMs, this.state.members.length * 100);
    await this.apply(this.machine.send(this.now, kindHeartbeat, utf8(JSON.stringify({ epoch, ctr }))));
  }

  private async tellFrames(): Promise<void> {
    if (this.state?.state !== "member") return;
    const lists = this.signatures.take(this.state.members.length, this.state.epoch);
    for (const list of lists) {
      await this.apply(this.machine.send(this.now, kindSignatures, utf8(JSON.stringify(list))));
    }
  }

  // Frames.

  sendKey(source: Source): SendKey | null {
    return this.epochs.sendKey(source);
  }

  binding(mid: string): Binding | null {
    return this.slots.get(mid) ?? null;
  }

  receiveKey(connId: string, kid: number): ReceiveKey | DropReason | null {
    const key = this.epochs.receiveKey(connId, kid);
    return key && this.peerStates.isForged(connId) ? "e2ee_forged" : key;
  }

  protected(source: Source, key: SendKey, codec: number, sealed: Bytes): void {
    if (!this.signatures.on) return;
    const epoch = this.epochs.epochOf(source, key);
    const frame = parseFrame(codec, sealed);
    if (epoch !== null && frame) this.signatures.sent(epoch, contextOf(source), frame);
  }

  opened(connId: string, key: ReceiveKey, frame: ParsedFrame): void {
    this.peerStates.opened(connId);
    this.verification.opened(connId, key, frame);
  }

  authFailed(connId: string): void {
    this.peerStates.authFailed(connId);
  }

  private get now(): number {
    return this.context.time();
  }

  /** What the service says and the group cannot accept. */
  private signaled(outcome: Outcome): Promise<void> {
    if (outcome.refused) this.context.error("bad_message", outcome.refused);
    return this.apply(outcome);
  }

  /** What the person asks for and is not possible. */
  private asked(what: string, outcome: Outcome): Promise<void> {
    const { refused } = outcome;
    if (refused === "not_member" || refused === "not_host") this.context.error(refused, what);
    else if (refused === "unknown") this.context.error("unknown_person", what);
    else if (refused) this.context.error("bad_message", what);
    return this.apply(outcome);
  }

  private async apply({ actions: a, next }: Outcome): Promise<void> {
    if (this.over) return;
    this.context.wake(next);
    for (const data of a.send) this.context.post({ type: "send", data: data.buffer });
    for (const s of a.sign) this.sign(s.id, s.message);
    this.changeKeys(a);
    for (const m of a.messages) this.heard(m);
    if (a.state) await this.changeState(a.state);
    if (a.knocks) {
      this.waiting = tellApart(await Promise.all(a.knocks.map((k) => this.look(k))));
      this.tellKnocks();
    }
    for (const { code, connId, name } of a.notices) {
      this.context.post({ type: "notice", code, ...(connId !== nobody && { connId }), ...(name !== "" && { name }) });
    }
    if (a.link) await this.context.renamed(a.link.secret, a.link.gen);
  }

  /** The answers go back in the order of the requests. */
  private sign(id: number, message: Bytes): void {
    this.signing = this.signing
      .then(() => this.identity.sign(message))
      .then((signature) => this.context.enqueue(() => {
        if (!this.over) return this.apply(this.machine.signed(this.now, id, signature));
      }))
      .catch(() => this.context.error("internal", "sign"));
  }

  private changeKeys(a: Actions): void {
    if (a.stop) this.epochs.stop();
    for (const keys of a.keys) this.epochs.install(this.tested(keys));
    for (const epoch of a.sendEpoch) this.epochs.send(epoch);
    for (const { leaf, epoch } of a.dropped) this.epochs.remove(leaf, epoch);
    // An epoch of a line of the group that ended may have had the number of a new one.
    for (const epoch of a.forget) if (!a.keys.some((k) => k.epoch === epoch)) this.epochs.forget(epoch);
    if (a.keys.length > 0 || a.dropped.length > 0) this.context.release();
  }

  private tested(keys: EpochKeys): EpochKeys {
    if (SOTTO_TEST_HOOKS && this.context.test?.wrongMediaKey) keys.base[0]! ^= 1;
    return keys;
  }

  private heard({ connId, leaf, kind, body }: Actions["messages"][number]): void {
    if (kind === kindHeartbeat) {
      if (!this.epochs.heartbeat(leaf, parseObject(body))) this.context.drop("message_refused");
      return;
    }
    if (kind === kindSignatures) {
      if (!this.verification.heard(connId, leaf, parseObject(body))) this.context.drop("message_refused");
      return;
    }
    const decoded = decodeApp(kind, body);
    if (decoded === undefined) return this.context.drop("message_refused");
    if (decoded === null) return; // of a later version
    const { message, file } = decoded;
    if (message.kind === "file" && file) this.files.receive(connId, message.body.id, file);
    this.context.post({ type: "app", connId, ...message });
  }

  private async changeState(state: GroupState): Promise<void> {
    this.state = state;
    const isMember = state.state === "member";
    if (isMember && this.heartbeatAt === Infinity) this.heartbeatAt = this.now + heartbeatMinMs;
    this.members = await Promise.all(state.members.map(async (p) => ({ ...(await this.meet(p)), host: p.host })));
    this.peerStates.setMembers(isMember ? this.members.map((m) => m.connId).filter((id) => id !== this.connId) : []);
    this.tellMembership();
    const host = this.members.find((m) => m.host);
    if (!host) return;
    if (host.connId === this.connId && isMember) this.room.keepPolicy(state);
    if (this.room.host(host.fingerprint) || this.hostTold === host.fingerprint) return;
    this.hostTold = host.fingerprint;
    this.context.post({ type: "notice", code: "host_changed", connId: host.connId, name: host.name });
    const { locked, knock } = this.room.policy;
    if ((locked && !state.locked) || (knock && !state.knock)) this.context.post({ type: "notice", code: "lock_lost" });
  }

  acceptHost(): void {
    const host = this.members.find((m) => m.host);
    if (host) this.room.acceptHost(host.fingerprint);
  }

  private async meet({ connId, key, name }: Pick<Person, "connId" | "key" | "name">): Promise<Acquaintance> {
    const fingerprint = await this.fingerprint(key);
    return { connId, name, fingerprint, known: this.people.meet(fingerprint, name, this.now) };
  }

  private async look({ connId, key, name }: Pick<Person, "connId" | "key" | "name">): Promise<Acquaintance> {
    const fingerprint = await this.fingerprint(key);
    return { connId, name, fingerprint, known: this.people.look(fingerprint, name) };
  }

  private async fingerprint(key: Bytes): Promise<string> {
    const text = toBase64url(key);
    const fingerprint = this.fingerprints.get(text) ?? (await fingerprintOf(key));
    this.fingerprints.set(text, fingerprint);
    return fingerprint;
  }

  private tellMembership(): void {
    if (!this.state) return;
    const { state, isHost, locked, knock, epoch } = this.state;
    const members = this.members.map((m) => ({ ...m, fingerprint: shown(m.fingerprint), self: m.connId === this.connId }));
    this.context.post({ type: "membership", state, isHost, locked, knock, epoch, members });
  }

  private tellKnocks(): void {
    this.context.post({ type: "knocks", list: this.waiting.map((w) => ({ ...w, fingerprint: shown(w.fingerprint) })) });
  }
}

/** tellApart marks those who wait under a name that another who waits has too. */
function tellApart(waiting: Acquaintance[]): Acquaintance[] {
  const shared = (a: Acquaintance): boolean => a.name !== "" && waiting.some((b) => b.fingerprint !== a.fingerprint && alike(a.name, b.name));
  return waiting.map((a) => (a.known !== "verified" && shared(a) ? { ...a, known: "name_conflict" } : a));
}

/** Throws RangeError, which is told as "bad_message". */
function connIdOf(text: string): Bytes {
  const id = fromBase64url(text, connIdSize);
  if (!id) throw new RangeError("connection id");
  return id;
}

function connIds(list: string[]): Bytes[] {
  if (!Array.isArray(list) || list.length > maxPeers) throw new RangeError("peers");
  return list.map(connIdOf);
}

function position(group: GroupPosition | null): Position | null {
  if (!group) return null;
  const gi = fromBase64url(group.gi, 16);
  if (!gi || !Number.isSafeInteger(group.slot) || group.slot < 0) throw new RangeError("position");
  return { gi, slot: group.slot };
}

function hexBytes(text: string): Bytes {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
