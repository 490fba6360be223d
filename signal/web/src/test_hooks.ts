// Access for browser tests, window.__sotto. Only the bundle with
// SOTTO_TEST_HOOKS has it; the build's tests look for it in the other one.
//
// Query parameters, kept in the address over the whole stay:
//   autojoin=1          join without a click
//   name                what this person is called, with autojoin
//   w, h, fps           exact size and rate of the camera
//   source=canvas       a drawn, moving picture of that size instead of a camera
//   screen=canvas       the same for a shared screen
//   codecs=vp8          the browser knows these video codecs alone (Chromium)
//   wrong_media_key=1   the worker uses media keys that nobody else has
//   hash_frames=1       the worker reports SHA-256 of every frame

import type { Counters, FromWorker, TestHashes, ToWorker } from "../../../e2ee/js/src/messages.ts";
import type { OpenCamera } from "./local_media.ts";
import type { Membership } from "./membership.ts";
import type { Slot, Source } from "./protocol.ts";
import type { Member } from "./roster.ts";
import type { OpenScreen } from "./screen_share.ts";
import type { Session } from "./session.ts";

interface TileReport {
  connId: string;
  source: string;
  state: string;
  name: string;
  live: boolean;
  hasPicture: boolean;
  videoWidth: number;
  videoHeight: number;
  currentTime: number;
}

export class TestHooks {
  readonly joinsByItself: boolean;
  readonly name: string;

  /** Frame hashes in order of arrival, of all sessions. */
  readonly hashes: TestHashes[] = [];
  readonly violations: string[] = [];
  readonly errors: string[] = [];
  workerStats: Counters | null = null;
  sessions = 0;

  /** The encrypted group, with what the person can do in it. */
  group: Membership | null = null;
  readonly notices: string[] = [];
  readonly reactions: string[] = [];

  private session: Session | null = null;
  private readonly query = new URLSearchParams(location.search);
  private readonly heights = new Map<string, number>();

  constructor() {
    this.joinsByItself = this.query.get("autojoin") === "1";
    this.name = this.query.get("name") ?? "";
    const codecs = this.query.get("codecs");
    if (codecs) limitCodecs(codecs.split(","));
    addEventListener("securitypolicyviolation", (e) => this.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
    addEventListener("error", (e) => this.errors.push(e.message));
    addEventListener("unhandledrejection", (e) => this.errors.push(String(e.reason)));
    Object.assign(window, { __sotto: this });
  }

  // What a test calls.

  connId(): string {
    return this.session?.connId ?? "";
  }

  connectionState(): RTCPeerConnectionState | "none" {
    return this.session?.media.pc.connectionState ?? "none";
  }

  peers(): Member[] {
    return this.session?.roster.all() ?? [];
  }

  slots(): readonly Slot[] {
    return this.session?.slots.all() ?? [];
  }

  /** midOf gives the receiving m-line of a person's source, or null. */
  midOf(connId: string, source: Source): string | null {
    return this.session?.slots.midOf(connId, source) ?? null;
  }

  /** setWish asks for this height of a track whatever its tile; 0 pauses it, -1 goes back to the tile. */
  setWish(connId: string, source: Source, height: number): void {
    if (height < 0) this.heights.delete(`${connId} ${source}`);
    else this.heights.set(`${connId} ${source}`, height);
    this.session?.wish();
  }

  /** breakSocket gives up the WebSocket as a network would, and lets the page come back. */
  breakSocket(): void {
    this.session?.reconnect();
  }

  /** breakMedia ends the peer connection as a path that failed would. */
  breakMedia(): void {
    this.session?.media["fail"]();
  }

  /** stats is getStats() as plain objects. */
  async stats(): Promise<Record<string, unknown>[]> {
    const report = await this.session?.media.pc.getStats();
    const list: Record<string, unknown>[] = [];
    report?.forEach((entry: Record<string, unknown>) => list.push({ ...entry }));
    return list;
  }

  localSdp(): string {
    return this.session?.media.pc.localDescription?.sdp ?? "";
  }

  remoteSdp(): string {
    return this.session?.media.pc.remoteDescription?.sdp ?? "";
  }

  /** untransformed counts receivers, and senders that may send, without a transform: always 0. */
  untransformed(): number {
    const transceivers = this.session?.media.pc.getTransceivers() ?? [];
    const sending = transceivers.filter((t) => t.direction.startsWith("send")).map((t) => t.sender);
    return [...sending, ...transceivers.map((t) => t.receiver)].filter((x) => !x.transform).length;
  }

  tiles(): TileReport[] {
    return [...document.querySelectorAll<HTMLElement>(".tile")].map((tile) => {
      const video = tile.querySelector("video");
      return {
        connId: tile.dataset["connId"] ?? "",
        source: tile.dataset["source"] ?? "",
        state: tile.dataset["state"] ?? "",
        name: tile.querySelector(".name")?.textContent ?? "",
        live: tile.classList.contains("live"),
        hasPicture: tile.classList.contains("has-picture"),
        videoWidth: video?.videoWidth ?? 0,
        videoHeight: video?.videoHeight ?? 0,
        currentTime: video?.currentTime ?? 0,
      };
    });
  }

  /** colours counts the different colours on a grid of points of a person's picture. */
  colours(connId: string, source: Source = "camera"): number {
    const video = document.querySelector<HTMLVideoElement>(`.tile[data-conn-id="${CSS.escape(connId)}"][data-source="${source}"] video`);
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    if (!video || !context || video.videoWidth === 0) return 0;
    const size = 64;
    context.canvas.width = context.canvas.height = size;
    context.drawImage(video, 0, 0, size, size);
    const { data } = context.getImageData(0, 0, size, size);
    const seen = new Set<number>();
    for (let at = 0; at < data.length; at += 4) {
      // Four bits a channel: noise of the codec is no colour.
      seen.add((((data[at] ?? 0) >> 4) << 8) | (((data[at + 1] ?? 0) >> 4) << 4) | ((data[at + 2] ?? 0) >> 4));
    }
    return seen.size;
  }

  // What the page calls.

  beforeInit(): ToWorker[] {
    return [{ type: "test_config", wrongMediaKey: this.query.get("wrong_media_key") === "1", hashFrames: this.query.get("hash_frames") === "1" }];
  }

  watch(membership: Membership): void {
    this.group = membership;
    membership.onNotice(({ code }) => this.notices.push(code));
    membership.onReaction(({ connId, emoji }) => this.reactions.push(`${connId} ${emoji}`));
  }

  observe(session: Session): void {
    this.session = session;
    this.sessions++;
    session.observeWorker = (message) => this.fromWorker(message);
    session.adjustWishes = (wishes) =>
      wishes.map((w) => {
        const height = this.heights.get(`${w.conn_id} ${w.source}`);
        return height === undefined ? w : { ...w, height, paused: height === 0 };
      });
  }

  /** openCamera replaces the camera, if the query says so. */
  openCamera(): OpenCamera | undefined {
    const width = Number(this.query.get("w") ?? 0);
    const height = Number(this.query.get("h") ?? 0);
    const fps = Number(this.query.get("fps") ?? 15);
    if (this.query.get("source") === "canvas") return () => Promise.resolve(drawnCamera(width || 960, height || 540, fps));
    if (!width || !height) return undefined;
    return async () => {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { exact: width }, height: { exact: height }, frameRate: fps } });
      const track = stream.getVideoTracks()[0];
      if (!track) throw new DOMException("no track", "NotFoundError");
      return track;
    };
  }

  /** openScreen replaces the shared screen, if the query says so. */
  openScreen(): OpenScreen | undefined {
    if (this.query.get("screen") !== "canvas") return undefined;
    return () => Promise.resolve(new MediaStream([drawnCamera(1280, 720, 10)]));
  }

  private fromWorker(message: FromWorker): void {
    if (message.type === "test_hashes") this.hashes.push(message);
    if (message.type === "stats") this.workerStats = message.counters;
  }
}

/** limitCodecs makes the page offer these video codecs alone. */
function limitCodecs(names: string[]): void {
  const all = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
  const known = [...names, "rtx"].map((name) => `video/${name}`);
  RTCRtpReceiver.getCapabilities = (kind) => {
    const capabilities = all(kind);
    if (capabilities && kind === "video") {
      capabilities.codecs = capabilities.codecs.filter((c) => known.includes(c.mimeType.toLowerCase()));
    }
    return capabilities;
  };
}

/** drawnCamera is a moving picture of many colours. */
function drawnCamera(width: number, height: number, fps: number): MediaStreamTrack {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  let frame = 0;
  const draw = (): void => {
    if (!context) return;
    for (let bar = 0; bar < 8; bar++) {
      context.fillStyle = `hsl(${bar * 45} 70% 50%)`;
      context.fillRect((bar * width) / 8, 0, width / 8 + 1, height);
    }
    const x = (frame * 7) % width;
    context.fillStyle = "white";
    context.fillRect(x, height / 3, height / 3, height / 3);
    context.fillStyle = "black";
    context.font = `${height / 6}px monospace`;
    context.fillText(String(frame), width / 16, height / 5);
    frame++;
  };
  draw();
  const timer = setInterval(draw, 1000 / fps);
  const track = canvas.captureStream(fps).getVideoTracks()[0];
  if (!track) throw new DOMException("no track", "NotFoundError");
  // getSettings of a canvas track lacks the size in some browsers.
  track.getSettings = () => ({ width, height, frameRate: fps });
  const stop = track.stop.bind(track);
  track.stop = () => {
    clearInterval(timer);
    stop();
  };
  return track;
}
