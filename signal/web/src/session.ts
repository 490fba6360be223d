// One stay in a room under one connection id: one worker with its keys, one
// signaling, one peer connection. When the WebSocket breaks, the stay is resumed
// and media goes on meanwhile; when the media breaks, or moves to another
// service, it gets a new peer connection. It ends as a whole; call.ts starts the
// next one.

import type { Counters, FromWorker } from "../../../e2ee/js/src/messages.ts";
import type { E2eeWorker } from "./e2ee_worker.ts";
import { download, upload } from "./files.ts";
import { arrivals, handoverMs, isCaughtUp, lingerMs } from "./handover.ts";
import type { LocalMedia } from "./local_media.ts";
import { MediaConnection } from "./media_connection.ts";
import type { Membership, MembershipPort } from "./membership.ts";
import { failureOf, problem, type Failure } from "./problems.ts";
import { protocolVersion, type Resume, type ServerMessage, type Source, type Welcome, type Wish } from "./protocol.ts";
import { Resumption } from "./resumption.ts";
import { hasLive, labelOf, Roster, type RosterChange } from "./roster.ts";
import type { ScreenShare } from "./screen_share.ts";
import { RequestError, Signaling } from "./signaling.ts";
import { SlotMap } from "./slots.ts";
import type { Speakers } from "./speaker.ts";
import { SpeakerWatch } from "./speaker_watch.ts";
import type { Shown } from "./tile.ts";
import { WishSender } from "./wish_sender.ts";
import { wishes, type TileView } from "./wishes.ts";

/** Who takes part, and with which devices. */
export interface Participant {
  roomId: string;
  /** The join token; "" where the service asks for none. */
  token: string;
  /** "" for none. */
  name: string;
  /** Under a key that this browser forgets afterwards. */
  throwaway: boolean;
  local: LocalMedia;
  share: ScreenShare;
  membership: Membership;
}

export interface SessionEvents {
  /** In the room, or back: signaling and media are there. */
  live(): void;
  /** Coming back by itself; media: sound and picture are gone too. */
  interrupted(failure: Failure, media: boolean): void;
  /** Somebody came, went, changed tracks or encryption state. */
  people(change: RosterChange): void;
  /** Slots have other contents, or there are more of them. */
  slots(): void;
  /** Somebody began or ended to speak. */
  speakers(speakers: Speakers): void;
  /** Once, unless close() came first. */
  ended(failure: Failure): void;
}

/** A media session that was replaced. */
interface Former {
  readonly media: MediaConnection;
  /** As they were when it was replaced. */
  readonly slots: SlotMap;
  /** What the worker's names for its m-lines begin with. */
  readonly prefix: string;
  /** It is what is shown and heard. */
  isShown: boolean;
}

const clientName = "web/1";
const sources: readonly Source[] = ["mic", "camera", "screen", "screen_audio"];

// From the first packet to being in the room.
const joinTimeoutMs = 12_000;

// From there to the worker's first word of the group. Else it hangs, and another may not.
const enterTimeoutMs = 20_000;

// A break that is over by then is not worth a word.
const tellAfterMs = 400;

// Nor is a media session that is replaced by then while the former one goes on.
const tellMediaAfterMs = 1500;

// A peer connection that replaced another one and breaks within this time is
// not replaced again: a fresh start may find another service. One that still
// works is to move, and may have to soon again, where services are updated one
// after the other; but not for ever.
const mediaStableMs = 10_000;
const maxMoves = 4;

// How often a new media session is asked what it brings.
const followEveryMs = 50;

// Senders go on with a new epoch's keys so long after they have them.
const sendersSwitchMs = 75;

// Envelopes that may wait for the connection to come back.
const maxOutbox = 256;

export class Session {
  readonly roster = new Roster();
  readonly slots = new SlotMap();
  media: MediaConnection;
  connId = "";
  leaf = -1;
  /** What the worker counted, as of its last report. */
  counters: Counters | null = null;

  /** Lets a test replace what would be wished; the bundle for people never sets it. */
  adjustWishes: (wishes: Wish[]) => Wish[] = (w) => w;

  private readonly signaling: Signaling;
  private readonly resumption: Resumption;
  private readonly wishing: WishSender;
  private hearing: SpeakerWatch | null = null;
  private tiles: readonly TileView[] = [];
  private readonly sentMute = new Map<Source, boolean>();
  private resumeToken = "";
  private ticket: Extract<ServerMessage, { type: "ticket" }> | null = null;
  private lastSeq = 0;
  private outbox: ArrayBuffer[] = [];
  private joined = false;
  private canSee = false;
  private seeTimer: number | undefined;
  private over = false;
  /** The offer of a new peer connection is out: what "slots" says until its answer is of the former one. */
  private mediaPending = false;
  private mediaReplacedAt = -Infinity;
  /** Replacements of which each came soon after the one before. */
  private inARow = 0;
  /** How often media was replaced; the worker's names for the m-lines of a new peer connection begin with it. */
  private replaced = 0;
  private former: Former | null = null;
  private formerTimer: number | undefined;
  private mediaTellTimer: number | undefined;
  /** The person is to be told when media is there. */
  private tellLive = true;
  private readonly joinTimer: number;
  private enterTimer: number | undefined;
  private tellTimer: number | undefined;
  private readonly unsubscribe: (() => void)[];
  private signed: ((linkSig: string) => void) | null = null;

  private readonly worker: E2eeWorker;
  private readonly roomId: string;
  private readonly token: string;
  private readonly local: LocalMedia;
  private readonly share: ScreenShare;
  private readonly membership: Membership;
  private readonly port: MembershipPort;
  private readonly events: SessionEvents;

  constructor(worker: E2eeWorker, { roomId, token, name, throwaway, local, share, membership }: Participant, events: SessionEvents) {
    this.worker = worker;
    this.roomId = roomId;
    this.token = token;
    this.local = local;
    this.share = share;
    this.membership = membership;
    this.events = events;
    this.port = this.lend();
    membership.attach(this.port);
    worker.post({ type: "profile", name, throwaway });
    this.media = this.newMedia(false);
    this.signaling = new Signaling({
      message: (m) => this.receive(m),
      envelope: (data) => this.receiveEnvelope(data),
      closed: (opened) => this.disconnected(opened ? "connection_lost" : "server_unreachable"),
    });
    this.resumption = new Resumption({
      attempt: () => this.signaling.open(),
      expired: () => this.end({ problem: problem("connection_lost"), retry: true }),
    });
    this.wishing = new WishSender(
      () => this.adjustWishes(wishes(this.roster.all(), this.tiles)),
      (tracks) => this.signaling.send({ type: "want", tracks }),
    );
    this.unsubscribe = [
      local.subscribe(() => void this.syncDevices().then(() => this.syncMute())),
      share.subscribe(() => void this.syncShare()),
    ];
    this.joinTimer = setTimeout(() => this.end(failureOf("connect_timeout")), joinTimeoutMs);
    this.signaling.open();
  }

  /** show takes what is on the screen, as often as it changes. */
  show(tiles: readonly TileView[]): void {
    this.tiles = tiles;
    this.wish();
  }

  wish(): void {
    if (this.joined && this.canSee && !this.over) this.wishing.schedule();
  }

  /** labelOf says in words what is in an m-line; "" when nothing is. */
  labelOf(mid: string): string {
    const slot = this.slots.all().find((s) => s.mid === mid);
    const member = slot && this.roster.all().find((m) => m.connId === slot.connId);
    return slot && member && hasLive(member, slot.source) ? labelOf(member, slot.source) : "";
  }

  /** shown is what comes of a source. */
  shown(connId: string, source: Source): Shown {
    const { media, slots } = this.former?.isShown ? this.former : this;
    const slot = slots.of(connId, source);
    return { track: slot ? (media.track(slot.mid) ?? null) : null, paused: slot?.paused ?? "" };
  }

  /** audioTracks are those of all audio receivers. */
  audioTracks(): MediaStreamTrack[] {
    return (this.former?.isShown ? this.former : this).media.audioTracks();
  }

  /** hurry tries at once to come back, if that is what is waited for. */
  hurry(): void {
    this.resumption.hurry();
  }

  /** reconnect gives up the WebSocket, which may be dead without showing it, for a new one. */
  reconnect(): void {
    this.signaling.drop();
    this.disconnected("connection_lost");
  }

  /** startOver gives this stay up for a new one. */
  startOver(): void {
    this.signaling.send({ type: "leave" });
    this.end({ problem: problem("out_of_sync"), retry: true });
  }

  /** close leaves the room and frees everything. It may be called again. */
  close(): void {
    if (!this.over) this.signaling.send({ type: "leave" });
    this.dispose();
  }

  private dispose(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.joinTimer);
    clearTimeout(this.enterTimer);
    clearTimeout(this.tellTimer);
    clearTimeout(this.seeTimer);
    this.resumption.done();
    this.wishing.stop();
    this.hearing?.stop();
    for (const end of this.unsubscribe) end();
    clearTimeout(this.mediaTellTimer);
    this.dropFormer();
    this.media.close();
    this.signaling.close();
    this.worker.terminate();
    this.membership.detach(this.port);
  }

  private end(failure: Failure): void {
    if (this.over) return;
    this.dispose();
    this.events.ended(failure);
  }

  // Messages.

  private receive(m: ServerMessage): void {
    if (this.over) return;
    switch (m.type) {
      case "hello":
        if (this.resumption.active) void this.resume(m.nonce);
        else void this.join(m.version, m.nonce).catch((error: unknown) => this.end(failureOf(codeOf(error))));
        break;
      case "slots":
        if (!this.mediaPending) this.fill(m.slots);
        break;
      case "wanted":
        if (!this.mediaPending) this.media.restrict(m.tracks);
        break;
      case "peer_joined":
        this.worker.post({ type: "peer_joined", connId: m.connId });
        this.people(this.roster.apply(m));
        if (this.roster.setGroup(this.membership.members)) this.events.people({ changed: true });
        break;
      case "peer_left":
        this.worker.post({ type: "peer_left", connId: m.connId });
        this.people(this.roster.apply(m));
        break;
      case "peer_tracks":
        this.people(this.roster.apply(m));
        break;
      case "peers":
        this.meet(m.peers, true);
        this.worker.post({ type: "peers", peers: m.peers.map((p) => p.connId) });
        break;
      case "group":
      case "stale":
        this.worker.post({ type: m.type, group: m.group });
        break;
      case "ticket":
        this.ticket = m;
        break;
      case "error":
        if (m.code === "shutdown") this.reconnect();
        else if (m.fatal) this.end(failureOf(m.code));
        // While a new peer connection is offered this is about the former one.
        else if (!this.mediaPending && (m.code === "media_closed" || m.code === "unknown_peer")) this.replaceMedia(m.code);
        break;
    }
  }

  private receiveEnvelope(data: ArrayBuffer): void {
    if (this.over || data.byteLength < 8) return;
    const seq = Number(new DataView(data).getBigUint64(0));
    if (seq <= this.lastSeq || !Number.isSafeInteger(seq)) return;
    this.lastSeq = seq;
    this.worker.post({ type: "envelope", data });
  }

  private fromWorker(m: FromWorker): void {
    if (this.over) return;
    switch (m.type) {
      case "signed":
        this.signed?.(m.linkSig);
        break;
      case "send":
        if (this.signaling.ready) this.signaling.sendEnvelope(m.data);
        else if (this.outbox.length < maxOutbox) this.outbox.push(m.data);
        break;
      case "peer_state":
        if (this.roster.setState(m.connId, m.state)) this.events.people({ changed: true });
        break;
      case "membership":
        clearTimeout(this.enterTimer);
        if (m.state === "member") this.seeSoon();
        if (this.roster.setGroup(m.members)) this.events.people({ changed: true });
        break;
      case "stats":
        this.counters = m.counters;
        break;
      case "error":
        if (refusals.includes(m.code) || (m.code === "bad_message" && requests.includes(m.message))) break;
        this.end(failureOf(workerCode(m.code)));
        return;
    }
    this.membership.take(m);
    if (SOTTO_TEST_HOOKS) this.observeWorker(m);
  }

  /** Gives statistics and hashes of the worker to a test. */
  observeWorker: (message: FromWorker) => void = () => undefined;

  // Joining and coming back.

  private async join(version: number, nonce: string): Promise<void> {
    if (version !== protocolVersion) throw new RequestError("version");
    const ready = await this.worker.ready().catch((error: unknown) => {
      throw new RequestError(workerCode(error instanceof Error ? error.message : ""));
    });
    if (ready.roomId !== this.roomId) throw new RequestError("link_mismatch");
    this.connId = ready.connId;
    this.worker.listen((m) => this.fromWorker(m));
    const welcome = await this.connect(nonce, null);
    this.leaf = welcome.leaf;
    this.signaling.admit();
    this.worker.post({ type: "welcome", peers: welcome.peers.map((p) => p.connId), group: welcome.group });
    this.events.people(this.roster.apply(welcome));
    clearTimeout(this.joinTimer);
    this.enterTimer = setTimeout(() => this.end({ problem: problem("out_of_sync"), retry: true }), enterTimeoutMs);
    await this.startMedia();
    if (this.over) return;
    this.hearing = new SpeakerWatch(
      { report: () => this.media.pc.getStats(), ownerOf: (mid) => this.slots.ownerOf(mid, "mic") },
      (speakers) => this.events.speakers(speakers),
    );
  }

  private async connect(nonce: string, resume: Resume | null): Promise<Welcome> {
    const { roomId, connId, linkPub } = await this.worker.ready();
    const linkSig = await this.sign(nonce);
    const welcome = await this.signaling.request({
      type: "connect", room: roomId, conn_id: connId, link_pub: linkPub, link_sig: linkSig, client: clientName,
      ...(resume ? { resume } : this.token !== "" && { token: this.token }), // who resumes was admitted already
    });
    if (welcome.type !== "welcome") throw new RequestError("internal");
    this.resumeToken = welcome.resume;
    return welcome;
  }

  private sign(nonce: string): Promise<string> {
    return new Promise((resolve) => {
      this.signed = resolve;
      this.worker.post({ type: "connect", nonce });
    });
  }

  private disconnected(why: "connection_lost" | "server_unreachable"): void {
    if (this.over) return;
    if (this.leaf < 0 || this.resumeToken === "") {
      this.end({ problem: problem(why), retry: true });
      return;
    }
    if (!this.resumption.active) {
      this.tellTimer = setTimeout(() => this.events.interrupted({ problem: problem("signaling_lost"), retry: true }, false), tellAfterMs);
    }
    this.resumption.broken();
  }

  private async resume(nonce: string): Promise<void> {
    const tracks = sources.filter((s) => this.media.offers(s)).map((source) => ({ source, muted: this.sentMute.get(source) ?? false }));
    try {
      const welcome = await this.connect(nonce, { token: this.resumeToken, last_seq: this.lastSeq, tracks, ...this.claim() });
      if (!welcome.resumed || welcome.leaf !== this.leaf) throw new RequestError("resume_refused");
      this.resumed(welcome);
    } catch (error) {
      if (this.over) return;
      const code = codeOf(error);
      // A socket that broke was told of by closed(), and the next attempt is under way.
      if (code === "connection_lost") return;
      if (again.includes(code)) this.reconnect();
      else this.end({ problem: problem("connection_lost"), retry: true });
    }
  }

  private resumed(welcome: Welcome): void {
    if (this.over) return;
    clearTimeout(this.tellTimer);
    this.resumption.done();
    // What the service lost, it will list later: nobody is gone before that.
    this.meet(welcome.peers, !welcome.lost);
    this.signaling.admit();
    for (const envelope of this.outbox.splice(0)) this.signaling.sendEnvelope(envelope);
    this.worker.post({ type: "resumed", peers: welcome.peers.map((p) => p.connId), group: welcome.group, lost: welcome.lost });
    for (const [source, muted] of this.sentMute) this.signaling.send({ type: "mute", source, muted });
    this.syncMute();
    if (this.canSee) this.wishing.again();
    if (this.joined && !this.mediaPending) this.events.live();
  }

  /** meet takes a list of the others; complete: who is not in it is gone. */
  private meet(peers: Welcome["peers"], complete: boolean): void {
    this.roster.meet(peers, complete);
    this.roster.setGroup(this.membership.members);
    this.people({ changed: true });
  }

  /** claim is what tells a service that was restarted where the group stood. */
  private claim(): Pick<Resume, "group"> {
    if (!this.ticket) return {};
    const { group, hostTag, ticket } = this.ticket;
    return { group: { ...group, host_tag: hostTag, ticket } };
  }

  /** seeSoon asks for pictures when those who send them do so with keys that this client has: an earlier key frame would be lost on it. */
  private seeSoon(): void {
    this.seeTimer ??= setTimeout(() => {
      this.canSee = true;
      if (this.joined && !this.over) this.wishing.again();
    }, sendersSwitchMs);
  }

  /** lend is the session's end of the membership. */
  private lend(): MembershipPort {
    return {
      post: (m) => {
        if (!this.over) this.worker.post(m);
      },
      evict: (connId, host) => void this.signaling.request({ type: "evict", conn_id: connId, host }).catch(() => undefined),
      alias: async ({ roomId, linkPub, linkSig, hostToken }) => {
        // Signed over what this connection began with: after a break the worker tells the link again.
        if (!this.signaling.ready) return true;
        const request = { type: "alias" as const, room: roomId, link_pub: linkPub, link_sig: linkSig, ...(hostToken !== undefined && { host: hostToken }) };
        return this.signaling.request(request).then(() => true, (error: unknown) => codeOf(error) === "connection_lost");
      },
      upload: (file) => upload(file, (size) => this.signaling.request({ type: "upload", size })),
      download,
    };
  }

  // Media.

  private newMedia(rejoin: boolean): MediaConnection {
    let first = rejoin;
    const { prefix } = this;
    const media: MediaConnection = new MediaConnection(
      (options) => this.worker.transform(options.side === "receive" ? { ...options, mid: prefix + options.mid } : options),
      async (sdp, tracks) => {
        const reply = await this.signaling.request({ type: "offer", sdp, tracks, ...(first && { rejoin: true }) });
        if (reply.type !== "answer") throw new RequestError("internal");
        first = false;
        if (media === this.media) this.mediaPending = false;
        return reply.sdp;
      },
      () => {
        if (media === this.former?.media) this.takeOver();
        if (media !== this.media) return;
        this.replaceMedia("media_closed");
        // What broke the media may have broken the WebSocket, which shows it much later.
        if (!this.resumption.active) this.reconnect();
      },
    );
    return media;
  }

  private async startMedia(): Promise<void> {
    const { media } = this;
    await this.syncDevices();
    // The first offer names everything.
    await media.negotiate(this.wantedSlots(), this.share.tracks);
    if (this.over || media !== this.media) return;
    this.joined = true;
    this.syncMute();
    if (this.canSee) this.wishing.again();
    this.events.slots();
    clearTimeout(this.mediaTellTimer);
    if (this.tellLive && !this.resumption.active) {
      this.tellLive = false;
      this.events.live();
    }
    this.grow(); // who came while the first offer was out
  }

  /** replaceMedia gives a stay whose media broke a new peer connection; keys and counters go on. */
  private replaceMedia(code: string): void {
    if (this.over) return;
    const now = performance.now();
    this.inARow = now - this.mediaReplacedAt < mediaStableMs ? this.inARow + 1 : 1;
    if (!this.joined || this.inARow > (this.media.isConnected ? maxMoves : 1)) {
      this.end(failureOf(code));
      return;
    }
    this.mediaReplacedAt = now;
    this.dropFormer();
    const { media, prefix } = this;
    if (media.isConnected) this.former = { media, slots: this.slots.copy(), prefix, isShown: true };
    else media.close();
    this.replaced++;
    this.mediaPending = true;
    this.media = this.newMedia(true);
    this.fill([]);
    const tell = (): void => {
      this.tellLive = true;
      this.events.interrupted(failureOf(code), true);
    };
    if (this.former) this.mediaTellTimer = setTimeout(tell, tellMediaAfterMs);
    else tell();
    void this.startMedia().catch((error: unknown) => this.end(failureOf(codeOf(error))));
    if (this.former) void this.follow(this.former, now + handoverMs).catch(() => this.takeOver());
  }

  /** follow takes over from a former media session when the new one brings what that brought, or when its time is over. */
  private async follow(former: Former, until: number): Promise<void> {
    while (former === this.former && former.isShown) {
      const arrived = arrivals(await this.media.pc.getStats());
      const isLive = (connId: string, source: Source): boolean => this.roster.all().some((m) => m.connId === connId && hasLive(m, source));
      const isThere = this.media.isConnected && isCaughtUp(former.slots.all(), this.slots, arrived, isLive);
      if (isThere || performance.now() >= until) this.takeOver();
      else await new Promise((resolve) => setTimeout(resolve, followEveryMs));
    }
  }

  /** takeOver shows the new media session; the former one goes on for the others who still watch it. */
  private takeOver(): void {
    if (!this.former?.isShown) return;
    this.former.isShown = false;
    this.formerTimer = setTimeout(() => {
      this.dropFormer();
      this.bind();
    }, lingerMs);
    this.events.slots();
  }

  private dropFormer(): void {
    clearTimeout(this.formerTimer);
    this.former?.media.close();
    this.former = null;
  }

  private fill(slots: Extract<ServerMessage, { type: "slots" }>["slots"]): void {
    this.slots.replace(slots);
    this.bind();
    this.events.slots();
  }

  /** bind tells the worker what all m-lines carry. */
  private bind(): void {
    const { slots, prefix, former } = this;
    const named = [{ slots, prefix }, ...(former ? [former] : [])];
    this.worker.post({ type: "slots", slots: named.flatMap(({ slots, prefix }) => slots.all().map((s) => ({ ...s, mid: prefix + s.mid }))) });
  }

  private get prefix(): string {
    return this.replaced === 0 ? "" : `${this.replaced}/`;
  }

  private people(change: RosterChange): void {
    if (!change.changed) return;
    this.events.people(change);
    if (!this.joined) return;
    this.wish();
    this.grow();
  }

  private grow(): void {
    const { media } = this;
    media.negotiate(this.wantedSlots()).then(
      () => {
        if (!this.over) this.events.slots();
      },
      (error: unknown) => {
        if (media === this.media) this.end(failureOf(codeOf(error)));
      },
    );
  }

  /** One slot of each kind for everybody, more for those who share. */
  private wantedSlots(): { audio: number; video: number } {
    let audio = 0;
    let video = 0;
    for (const { tracks } of this.roster.all()) {
      audio += tracks.some((t) => t.source === "screen_audio" && !t.muted) ? 2 : 1;
      video += tracks.some((t) => t.source === "screen" && !t.muted) ? 2 : 1;
    }
    return { audio, video };
  }

  private async syncShare(): Promise<void> {
    if (!this.joined || this.over) return; // joining takes it along
    const { media } = this;
    this.syncMute();
    await media.share(this.share.tracks).catch((error: unknown) => {
      if (media === this.media) this.end(failureOf(codeOf(error)));
    });
  }

  private async syncDevices(): Promise<void> {
    if (this.over) return;
    await Promise.all([this.media.setMic(this.local.mic), this.media.setCamera(this.local.camera)]);
  }

  /** syncMute tells the service which sources are silent now. */
  private syncMute(): void {
    if (!this.joined || this.over || !this.signaling.ready) return;
    for (const source of sources) {
      if (!this.media.offers(source)) continue; // a new one begins unmuted
      const muted = !this.isLive(source);
      if (muted === (this.sentMute.get(source) ?? false)) continue;
      this.sentMute.set(source, muted);
      this.signaling.send({ type: "mute", source, muted });
    }
  }

  private isLive(source: Source): boolean {
    return source === "mic" || source === "camera" ? this.local.live(source) : this.share.tracks[source] !== null;
  }
}

/** Refusals of a resumption that another attempt may not meet. */
const again: readonly string[] = ["busy", "shutdown", "connect_timeout", "media_timeout", "rate_limited"];

/** What the worker says of a request of the person that is not possible now. */
const refusals: readonly string[] = ["not_member", "not_host", "unknown_person"];

/** Of these it names the request whose content it does not take: that is not sent, and the stay goes on. */
const requests: readonly string[] = ["chat", "reaction", "hand", "file", "app"];

function codeOf(error: unknown): string {
  return error instanceof RequestError ? error.code : "bad_offer";
}

function workerCode(code: string): string {
  switch (code) {
    case "bad_secret":
      return "link_incomplete";
    case "unsupported":
      return "browser_no_e2ee";
    case "worker_failed":
    case "worker_silent":
      return "page_broken";
    default:
      return "internal";
  }
}
