// One stay in a room: one worker, one signaling connection, one peer
// connection, all fresh. It ends as a whole; call.ts starts the next one.

import type { FromWorker } from "../../../e2ee/js/src/messages.ts";
import type { E2eeWorker } from "./e2ee_worker.ts";
import type { LocalMedia } from "./local_media.ts";
import { MediaConnection, type Exchange } from "./media_connection.ts";
import { failureOf, problem, type Failure } from "./problems.ts";
import { protocolVersion, type ServerMessage, type Source, type Wish } from "./protocol.ts";
import { Roster, type RosterChange } from "./roster.ts";
import type { ScreenShare } from "./screen_share.ts";
import { RequestError, Signaling } from "./signaling.ts";
import { SlotMap } from "./slots.ts";
import type { Speakers } from "./speaker.ts";
import { SpeakerWatch } from "./speaker_watch.ts";
import { WishSender } from "./wish_sender.ts";
import { wishes, type TileView } from "./wishes.ts";

/** Who takes part, and with which devices. */
export interface Participant {
  roomId: string;
  /** "" for none. */
  name: string;
  local: LocalMedia;
  share: ScreenShare;
}

export interface SessionEvents {
  /** In the room, media negotiated. */
  live(): void;
  /** Somebody came, went, changed tracks or encryption state. */
  people(change: RosterChange): void;
  /** Slots have other contents, or there are more of them. */
  slots(): void;
  /** Somebody began or ended to speak. */
  speakers(speakers: Speakers): void;
  /** Once, unless close() came first. */
  ended(failure: Failure): void;
}

const sources: readonly Source[] = ["mic", "camera", "screen", "screen_audio"];

const clientName = "web/1";

// From the first packet to being in the room.
const joinTimeoutMs = 12_000;

export class Session {
  readonly roster = new Roster();
  readonly slots = new SlotMap();
  readonly media: MediaConnection;
  connId = "";
  leaf = -1;

  /** Lets a test replace what would be wished; the bundle for people never sets it. */
  adjustWishes: (wishes: Wish[]) => Wish[] = (w) => w;

  private readonly signaling: Signaling;
  private readonly wishing: WishSender;
  private hearing: SpeakerWatch | null = null;
  private tiles: readonly TileView[] = [];
  private readonly sentMute = new Map<Source, boolean>();
  private joined = false;
  private over = false;
  private readonly joinTimer: number;
  private readonly unsubscribe: (() => void)[];
  private signed: ((linkSig: string) => void) | null = null;

  private readonly worker: E2eeWorker;
  private readonly roomId: string;
  private readonly local: LocalMedia;
  private readonly share: ScreenShare;
  private readonly events: SessionEvents;

  constructor(worker: E2eeWorker, { roomId, name, local, share }: Participant, events: SessionEvents) {
    this.worker = worker;
    this.roomId = roomId;
    this.local = local;
    this.share = share;
    this.events = events;
    worker.post({ type: "profile", name });
    const exchange: Exchange = async (sdp, tracks) => {
      const reply = await this.signaling.request({ type: "offer", sdp, tracks });
      if (reply.type !== "answer") throw new RequestError("internal");
      return reply.sdp;
    };
    this.media = new MediaConnection((options) => worker.transform(options), exchange, () => this.end(failureOf("media_closed")));
    this.signaling = new Signaling({
      message: (m) => this.receive(m),
      envelope: (data) => worker.post({ type: "envelope", data }),
      closed: (opened) => this.end({ problem: problem(opened ? "connection_lost" : "server_unreachable"), retry: true }),
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
  }

  /** show takes what is on the screen, as often as it changes. */
  show(tiles: readonly TileView[]): void {
    this.tiles = tiles;
    this.wish();
  }

  wish(): void {
    if (this.joined && !this.over) this.wishing.schedule();
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
    this.wishing.stop();
    this.hearing?.stop();
    for (const end of this.unsubscribe) end();
    this.media.close();
    this.signaling.close();
    this.worker.terminate();
  }

  private end(failure: Failure): void {
    if (this.over) return;
    this.dispose();
    this.events.ended(failure);
  }

  private receive(m: ServerMessage): void {
    if (this.over) return;
    switch (m.type) {
      case "hello":
        void this.join(m.version, m.nonce).catch((error: unknown) => this.end(failureOf(codeOf(error))));
        break;
      case "slots":
        this.slots.replace(m.slots);
        this.worker.post({ type: "slots", slots: m.slots });
        this.events.slots();
        break;
      case "peer_joined":
        this.worker.post({ type: "peer_joined", connId: m.connId, leaf: m.leaf });
        this.people(this.roster.apply(m));
        break;
      case "peer_left":
        this.worker.post({ type: "peer_left", connId: m.connId });
        this.people(this.roster.apply(m));
        break;
      case "peer_tracks":
        this.people(this.roster.apply(m));
        break;
      case "error":
        if (m.fatal || m.code === "media_closed" || m.code === "unknown_peer") this.end(failureOf(m.code));
        break;
    }
  }

  private async join(version: number, nonce: string): Promise<void> {
    if (version !== protocolVersion) throw new RequestError("version");
    const ready = await this.worker.ready().catch((error: unknown) => {
      throw new RequestError(workerCode(error instanceof Error ? error.message : ""));
    });
    if (ready.roomId !== this.roomId) throw new RequestError("link_mismatch");
    this.connId = ready.connId;
    const linkSig = await this.sign(nonce);
    const welcome = await this.signaling.request({
      type: "connect", room: ready.roomId, conn_id: ready.connId, link_pub: ready.linkPub, link_sig: linkSig, client: clientName,
    });
    if (welcome.type !== "welcome") throw new RequestError("internal");
    this.leaf = welcome.leaf;
    this.worker.post({ type: "welcome", leaf: welcome.leaf, peers: welcome.peers.map(({ connId, leaf }) => ({ connId, leaf })) });
    this.events.people(this.roster.apply(welcome));
    clearTimeout(this.joinTimer);
    await this.syncDevices();
    await this.media.share(this.share.tracks);
    await this.media.negotiate(this.wantedSlots());
    if (this.over) return;
    this.joined = true;
    this.syncMute();
    this.wishing.flush();
    this.events.slots();
    this.events.live();
    this.hearing = new SpeakerWatch({ report: () => this.media.pc.getStats(), ownerOf: (mid) => this.slots.ownerOf(mid, "mic") }, (s) => this.events.speakers(s));
    this.grow(); // who came while the first offer was out
  }

  private sign(nonce: string): Promise<string> {
    return new Promise((resolve) => {
      this.signed = resolve;
      this.worker.listen((m) => this.fromWorker(m));
      this.worker.post({ type: "connect", nonce });
    });
  }

  private fromWorker(m: FromWorker): void {
    if (this.over) return;
    switch (m.type) {
      case "signed":
        this.signed?.(m.linkSig);
        break;
      case "send":
        this.signaling.sendEnvelope(m.data);
        break;
      case "peer_state":
        if (this.roster.setState(m.connId, m.state)) this.events.people({ changed: true });
        break;
      case "profile":
        if (this.roster.setName(m.connId, m.name)) this.events.people({ changed: true });
        break;
      case "error":
        this.end(failureOf(workerCode(m.code)));
        break;
      default:
        if (SOTTO_TEST_HOOKS) this.observeWorker(m);
    }
  }

  /** Gives statistics and hashes of the worker to a test. */
  observeWorker: (message: FromWorker) => void = () => undefined;

  private people(change: RosterChange): void {
    if (!change.changed) return;
    this.events.people(change);
    if (!this.joined) return;
    this.wish();
    this.grow();
  }

  private grow(): void {
    this.media.negotiate(this.wantedSlots()).then(
      () => {
        if (!this.over) this.events.slots();
      },
      (error: unknown) => this.end(failureOf(codeOf(error))),
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
    this.syncMute();
    await this.media.share(this.share.tracks).catch((error: unknown) => this.end(failureOf(codeOf(error))));
  }

  private async syncDevices(): Promise<void> {
    if (this.over) return;
    await Promise.all([this.media.setMic(this.local.mic), this.media.setCamera(this.local.camera)]);
  }

  /** syncMute tells the service which sources are silent now. */
  private syncMute(): void {
    if (!this.joined || this.over) return;
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
