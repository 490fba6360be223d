// The worker without its surroundings: messages in and out, transforms attached.

import { fromBase64url, toBase64url, type Bytes } from "./encoding.ts";
import { Files } from "./files.ts";
import type { ParsedFrame } from "./frame.ts";
import { Identity, shown } from "./identity.ts";
import { LinkKeys, random16, secretSize } from "./link.ts";
import type { Machine } from "./machine.ts";
import type { Counters, DropReason, ErrorCode, FromWorker, Source, TestConfig, ToWorker, TransformOptions } from "./messages.ts";
import { Participation, type ParticipationContext } from "./participation.ts";
import { People, type Contact } from "./people.ts";
import type { Transformer } from "./pipeline.ts";
import { cleanName } from "./profile.ts";
import { ReceiveStream, type ReceiveContext, type ReceiveKey } from "./receive.ts";
import { takeLock } from "./room_lock.ts";
import { RoomMemory } from "./rooms.ts";
import { SendStream, type SendContext, type SendKey } from "./send.ts";
import { contexts } from "./sframe.ts";
import { memoryStorage, type Storage } from "./storage.ts";
import { FrameHashes } from "./testhooks.ts";

const statsEveryMs = 2000;
const beatEveryMs = 1000;
/** How long a tab that is going away may keep its room's lock, and the least time to ask for it. */
const lockWaitMs = 150;
const lockGrantMs = 30;
/** Messages that may wait for WebCrypto; a service that sends more loses them. */
const maxQueue = 4096;
/** setTimeout takes no more than 2^31 ms. */
const longestWait = 60_000;

export interface Surroundings {
  post(m: FromWorker): void;
  /** A machine with a memory of its own. */
  machine(): Promise<Machine>;
  /** What the browser keeps. */
  storage: Promise<Storage>;
  /** Absent where there are no other tabs. */
  locks?: LockManager;
}

/** The link of the room: the one that was entered by, or its successor. */
interface Link {
  keys: LinkKeys;
  /** base64url */
  secret: string;
  gen: number;
}

interface Profile {
  name: string;
  identity: Identity;
  /** For people and rooms. */
  storage: Storage;
  people: People;
}

/** A worker that has not ended: everything of one connection id. */
interface Session {
  conn: Bytes;
  entered: Link;
  /** Of the service's last "hello". */
  nonce: Bytes | null;
  participation: Participation | null;
  /** Gives back the room's lock. */
  unlock: () => void;
  /** Started while the person looks at the page: it takes longer than joining may. */
  machine: Promise<Machine>;
  /** Who takes part; asked for as soon as that is known. */
  identity: Promise<Identity> | null;
  /** When it began: a tab that this one replaces has been going away since then. */
  since: number;
}

export class Engine implements SendContext, ReceiveContext, ParticipationContext {
  private host = "";
  private link: Link | null = null; // the newest
  private profile: Profile | null = null;
  private session: Session | null = null;
  private readonly files: Files;
  private readonly streams = new Map<string, ReceiveStream>(); // by mid
  private tail: Promise<void> = Promise.resolve();
  private queued = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly counters: Counters = {
    framesProtected: 0, framesOpened: 0, keyFrameRequests: 0, framesVerified: 0, framesForged: 0, framesUnverified: 0, dropped: {},
  };
  private countersChanged = false;
  private exhaustionTold = false;
  private signMedia = false;
  /** Set in test bundles only. */
  test: TestConfig | null = null;
  readonly post: (m: FromWorker) => void;

  constructor(private readonly surroundings: Surroundings) {
    this.post = surroundings.post;
    this.files = new Files(this.post);
  }

  /** Starts the timers of a worker; tests drive beat and report themselves. */
  startTimers(): void {
    setInterval(() => this.report(), statsEveryMs);
    setInterval(() => this.enqueue(() => this.beat()), beatEveryMs);
  }

  /** Handles messages one after another. */
  handle(m: ToWorker): Promise<void> {
    if (SOTTO_TEST_HOOKS && m.type === "test_config") {
      this.test = m;
      return this.tail;
    }
    // What takes long and changes nothing does not hold up the rest.
    if (m.type === "file_seal") return this.files.seal(m.id, m.file);
    if (m.type === "file_open") return this.files.open(m.connId, m.id, m.file);
    return this.enqueue(() => this.dispatch(m));
  }

  attach(transformer: Transformer, options: TransformOptions): Promise<void> {
    const hashes = SOTTO_TEST_HOOKS && this.test?.hashFrames ? new FrameHashes(options, this.post) : null;
    if (options.side === "send" && contexts.includes(options.source)) {
      return new SendStream(transformer, options.source, this, hashes).run();
    }
    if (options.side === "receive") {
      const stream = new ReceiveStream(transformer, options.mid, this, hashes);
      this.streams.set(options.mid, stream);
      return stream.run().finally(() => {
        if (this.streams.get(options.mid) === stream) this.streams.delete(options.mid);
      });
    }
    // Never read from: nothing passes.
    this.error("bad_message", "unknown transform options");
    return Promise.resolve();
  }

  enqueue(task: () => Promise<void> | void): Promise<void> {
    if (this.queued >= maxQueue) {
      this.error("bad_message", "too many messages");
      return this.tail;
    }
    this.queued++;
    this.tail = this.tail
      .then(task)
      // Texts of exceptions may hold anything: only their kind goes out.
      .catch((e: unknown) => this.error(e instanceof RangeError ? "bad_message" : "internal", e instanceof Error ? e.name : "error"))
      .finally(() => this.queued--);
    return this.tail;
  }

  private async dispatch(m: ToWorker): Promise<void> {
    if (m.type === "init") return this.init(m.secret, m.gen, m.host);
    if (m.type === "profile") return this.setProfile(m.name, m.throwaway);
    if (m.type === "sign_media") {
      this.signMedia = m.on;
      return this.session?.participation?.signMedia(m.on);
    }
    const { session } = this;
    if (!session) return this.error("bad_message", `${m.type} before init`);
    if (m.type === "connect") return this.connect(session, m.nonce);
    if (m.type === "reset") return this.start();
    if (m.type === "welcome") {
      await this.enter(session);
      return session.participation?.welcome(m.peers, m.group);
    }
    const p = session.participation;
    if (!p) return this.error("bad_message", `${m.type} before welcome`);
    switch (m.type) {
      case "resumed":
        await p.resumed(m.peers, m.group, m.lost);
        // The service may have lost the room's other names, or the request for one
        // with the connection, whose nonce it was signed over.
        if (this.link !== session.entered) await this.tellLink(session);
        return;
      case "peer_joined":
        return p.peerJoined(m.connId);
      case "peer_left":
        return p.peerLeft(m.connId);
      case "peers":
        return p.peers(m.peers);
      case "group":
        return p.position(m.group);
      case "stale":
        return p.stale(m.group);
      case "envelope":
        return p.envelope(new Uint8Array(m.data));
      case "slots":
        return p.setSlots(m.slots);
      case "admit":
        return p.admit(m.connId);
      case "refuse":
        return p.refuse(m.connId);
      case "kick":
        return p.kick(m.connId);
      case "policy":
        return p.setPolicy(m.locked, m.knock);
      case "rotate":
        return p.rotate();
      case "app":
        return p.say(m);
      case "verify":
        return p.verify(m.fingerprint, m.verified);
      case "accept_host":
        return p.acceptHost();
      case "codes":
        void p.codes().catch(() => this.error("internal", "codes"));
        return;
    }
  }

  private async init(secret: string | null, gen: number, host: string): Promise<void> {
    if (this.link) return this.error("bad_message", "second init");
    const bytes = secret === null ? crypto.getRandomValues(new Uint8Array(secretSize)) : fromBase64url(secret, secretSize);
    if (!bytes) return this.error("bad_secret", "the link is damaged");
    this.host = host;
    try {
      this.link = { keys: await LinkKeys.derive(bytes), secret: toBase64url(bytes), gen };
    } catch {
      return this.error("unsupported", "this browser cannot derive the keys");
    }
    bytes.fill(0);
    this.start();
  }

  /** A fresh session: new connection id, nobody known, and no keys. */
  private start(): void {
    if (!this.link) return;
    this.leave();
    const conn = random16();
    const machine = this.surroundings.machine();
    machine.catch(() => undefined); // told when it is needed
    this.session = { conn, entered: this.link, nonce: null, participation: null, unlock: () => undefined, machine, identity: null, since: this.now() };
    this.exhaustionTold = false;
    const { keys, secret, gen } = this.link;
    this.post({ type: "ready", roomId: keys.roomId, connId: toBase64url(conn), linkPub: toBase64url(keys.publicKey), secret, gen });
  }

  /** From here on frames drop until the next participation has keys. */
  private leave(): void {
    clearTimeout(this.timer);
    this.session?.participation?.end();
    this.session?.unlock();
    this.session = null;
  }

  private async setProfile(name: string, throwaway: boolean): Promise<void> {
    const kept = await this.surroundings.storage.catch(memoryStorage);
    const identity = throwaway ? await Identity.throwaway() : await Identity.load(kept);
    const people = await People.load(kept.store<Contact>("people"), !throwaway);
    this.profile = { name: cleanName(name), identity, people, storage: throwaway ? memoryStorage() : kept };
    people.meet(identity.fingerprint, this.profile.name, this.time());
    this.post({ type: "identity", fingerprint: shown(identity.fingerprint), persistent: identity.persistent });
  }

  private async connect(session: Session, nonce: string): Promise<void> {
    const bytes = fromBase64url(nonce);
    if (!bytes || bytes.length < 16 || bytes.length > 64) throw new RangeError("nonce");
    session.nonce = bytes;
    if (this.profile) session.identity ??= this.identityFor(session, session.entered.keys.roomId);
    const signature = await session.entered.keys.connectSignature(this.host, bytes, session.conn);
    this.post({ type: "signed", linkSig: toBase64url(signature) });
  }

  /** Takes the machine into use, with everything it has to know. */
  private async enter(session: Session): Promise<void> {
    if (session.participation) throw new RangeError("second welcome");
    if (!this.profile) await this.setProfile("", true);
    const { name, people, storage } = this.profile!;
    const { keys, secret, gen } = session.entered;
    const identity = await (session.identity ?? this.identityFor(session, keys.roomId));
    let machine: Machine;
    try {
      machine = await session.machine;
    } catch {
      return this.error("wasm_failed", "the WebAssembly part did not start");
    }
    const room = await RoomMemory.load(storage, keys.roomId, this.time());
    const refused = machine.start({
      gen, secret: fromBase64url(secret, secretSize)!, conn: session.conn,
      identity: identity.publicKey, hostTag: await room.hostTag(), name, policy: room.policy,
    });
    if (refused) return this.error("internal", refused);
    session.participation = new Participation(toBase64url(session.conn), machine, identity, people, room, this.files, this);
    session.participation.signMedia(this.signMedia);
  }

  /**
   * A key is in a group once. A second tab in the same room takes part under a
   * key of its own, which it forgets; a reload waits a moment for the tab that
   * it replaces.
   */
  private async identityFor(session: Session, roomId: string): Promise<Identity> {
    const { identity } = this.profile!;
    const { locks } = this.surroundings;
    if (!identity.persistent || !locks) return identity;
    const unlock = await takeLock(locks, `sotto ${roomId}`, Math.max(lockGrantMs, session.since + lockWaitMs - this.now()));
    if (unlock && this.session === session) session.unlock = unlock;
    else unlock?.(); // it ended meanwhile
    if (unlock) return identity;
    const other = await Identity.throwaway();
    this.post({ type: "identity", fingerprint: shown(other.fingerprint), persistent: false });
    return other;
  }

  /** The newest link, with the proof that this connection may register it. */
  private async tellLink({ conn, nonce, participation }: Session): Promise<void> {
    const { keys, secret, gen } = this.link!;
    if (!nonce) return;
    const linkSig = toBase64url(await keys.aliasSignature(this.host, nonce, conn));
    const hostToken = participation?.hostToken();
    this.post({
      type: "link", roomId: keys.roomId, secret, gen, linkPub: toBase64url(keys.publicKey), linkSig,
      ...(hostToken && { hostToken }),
    });
  }

  async beat(): Promise<void> {
    await this.session?.participation?.beat();
  }

  report(): void {
    if (!this.countersChanged) return;
    this.countersChanged = false;
    this.post({ type: "stats", counters: structuredClone(this.counters) });
  }

  // ParticipationContext.

  error(code: ErrorCode, message: string): void {
    this.post({ type: "error", code, message });
  }

  release(): void {
    for (const stream of this.streams.values()) stream.release();
  }

  wake(at: number): void {
    clearTimeout(this.timer);
    const wait = Math.min(Math.max(0, at - this.time()), longestWait);
    this.timer = setTimeout(() => this.enqueue(() => this.tick()), wait);
  }

  tick(): Promise<void> | void {
    return this.session?.participation?.tick();
  }

  time(): number {
    return performance.timeOrigin + this.now();
  }

  async renamed(secret: Bytes, gen: number): Promise<void> {
    this.link = { keys: await LinkKeys.derive(secret), secret: toBase64url(secret), gen };
    secret.fill(0);
    this.session?.participation?.renamed(this.link.keys.roomId);
    if (this.session) await this.tellLink(this.session);
  }

  verified(what: "framesVerified" | "framesForged" | "framesUnverified", n: number): void {
    this.counters[what] += n;
    this.countersChanged = true;
  }

  // SendContext and ReceiveContext.

  sendKey(source: Source) {
    return this.session?.participation?.sendKey(source) ?? null;
  }

  binding(mid: string) {
    return this.session?.participation?.binding(mid) ?? null;
  }

  receiveKey(connId: string, kid: number) {
    return this.session?.participation?.receiveKey(connId, kid) ?? null;
  }

  drop(reason: DropReason): void {
    this.counters.dropped[reason] = (this.counters.dropped[reason] ?? 0) + 1;
    this.countersChanged = true;
  }

  protected(source: Source, key: SendKey, codec: number, sealed: Bytes): void {
    this.counters.framesProtected++;
    this.countersChanged = true;
    this.session?.participation?.protected(source, key, codec, sealed);
  }

  opened(connId: string, key: ReceiveKey, frame: ParsedFrame): void {
    this.counters.framesOpened++;
    this.countersChanged = true;
    this.session?.participation?.opened(connId, key, frame);
  }

  authFailed(connId: string): void {
    this.session?.participation?.authFailed(connId);
  }

  keyFrameRequested(): void {
    this.counters.keyFrameRequests++;
    this.countersChanged = true;
  }

  exhausted(): void {
    if (this.exhaustionTold) return;
    this.exhaustionTold = true;
    this.error("counter_exhausted", "all frame counters of a key are used");
  }

  now(): number {
    return performance.now();
  }
}
