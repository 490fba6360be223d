// The one RTCPeerConnection of a session. This side is the only offerer, so
// offers never collide. Every sender and every receiver gets its encryption
// transform when it is made, before anything can flow through it.

import type { Source, TransformOptions } from "../../../e2ee/js/src/messages.ts";
import { chooseExtensions, orderCodecs, sendCodec } from "./codecs.ts";
import type { Wanted } from "./protocol.ts";
import type { ShareSource } from "./screen_share.ts";
import { everyLayer, layeringFor, layersFor, screenEncodings, type Layering } from "./simulcast.ts";
import { poolSize } from "./slots.ts";

export interface OfferedTrack {
  mid: string;
  source: Source;
}

/** exchange sends an offer and gives the answer's SDP. */
export type Exchange = (sdp: string, tracks: OfferedTrack[]) => Promise<string>;

/** makeTransform is E2eeWorker.transform. */
export type MakeTransform = (options: TransformOptions) => RTCRtpScriptTransform;

// A connection that reports "disconnected" may recover by itself; after this it
// is given up, which leaves time to be back within 5 s.
const disconnectedMs = 2500;

// From the answer to "connected"; DTLS repeats a lost flight after 1 s.
const connectMs = 8000;

export type SharedTracks = Readonly<Record<ShareSource, MediaStreamTrack | null>>;

type Kind = "audio" | "video";

export class MediaConnection {
  readonly pc: RTCPeerConnection;
  private readonly mic: RTCRtpTransceiver;
  private readonly camera: RTCRtpTransceiver;
  /** Made when first shared, and kept: sharing again needs no negotiation. */
  private readonly shared = new Map<ShareSource, RTCRtpTransceiver>();
  private readonly receivers: Record<Kind, RTCRtpTransceiver[]> = { audio: [], video: [] };
  private readonly predicted = new Map<RTCRtpTransceiver, string>();
  /** What each video source is sent in, by the last answer. */
  private readonly codecs = new Map<Source, string>();
  private layering: Layering = "simulcast";
  /** How many layers of each own source anybody wants; of one that is missing, all. */
  private readonly wanted = new Map<Source, number>();
  private cameraTrack: MediaStreamTrack | null = null;
  private configuration: Promise<void> = Promise.resolve();
  private negotiation: Promise<void> = Promise.resolve();
  private watchdog: number | undefined;
  private closed = false;

  private readonly makeTransform: MakeTransform;
  private readonly exchange: Exchange;
  private readonly lost: () => void;

  /** lost is called once when the path to the service is broken for good. */
  constructor(makeTransform: MakeTransform, exchange: Exchange, lost: () => void) {
    this.makeTransform = makeTransform;
    this.exchange = exchange;
    this.lost = lost;
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.pc.onconnectionstatechange = () => this.watch();
    this.mic = this.addSender("audio", "mic", undefined);
    this.camera = this.addSender("video", "camera", layersFor(0, 0));
  }

  async setMic(track: MediaStreamTrack | null): Promise<void> {
    await this.replace(this.mic.sender, track);
  }

  /** setCamera sends this track, with the layers that fit its size. */
  async setCamera(track: MediaStreamTrack | null): Promise<void> {
    this.cameraTrack = track;
    await this.configure();
    await this.replace(this.camera.sender, track);
  }

  /** replace gives a sender another track. A connection that is closed meanwhile, by leaving, needs none. */
  private async replace(sender: RTCRtpSender, track: MediaStreamTrack | null): Promise<void> {
    if (this.closed) return;
    await sender.replaceTrack(track).catch((error: unknown) => {
      if (!this.closed) throw error;
    });
  }

  /** restrict stops what nobody wants of the own sources and starts what somebody wants again. Sound goes on in any case. */
  restrict(tracks: readonly Wanted[]): void {
    this.wanted.clear();
    for (const { source, layers } of tracks) this.wanted.set(source, layers);
    void this.configure();
    for (const { source, codec } of tracks) if (codec !== "") void this.useCodec(source, codec).catch(() => this.fail());
  }

  /** useCodec makes a source be sent in this codec, by an offer whose answer puts it first. */
  useCodec(source: Source, codec: string): Promise<void> {
    return this.queue(async () => {
      const current = this.codecs.get(source);
      if (current !== undefined && current !== codec) await this.offer();
    });
  }

  /** configure brings the encodings of camera and screen to what is to be sent now, one change after the other. */
  private configure(): Promise<void> {
    this.configuration = this.configuration.then(async () => {
      const { width = 0, height = 0 } = this.cameraTrack?.getSettings() ?? {};
      const layers = layersFor(width, height, this.layering, this.wanted.get("camera"));
      await setEncodings(this.camera.sender, (rid) => layers.find((l) => l.rid === rid) ?? {});
      const screen = this.shared.get("screen");
      // Rather fewer frames than a picture that cannot be read, where the browser lets itself be told.
      if (screen) await setEncodings(screen.sender, () => ({ active: (this.wanted.get("screen") ?? everyLayer) > 0 }), "maintain-resolution");
    });
    return this.configuration;
  }

  /**
   * share sends these tracks, or nothing. A source that is shared for the first
   * time is offered, behind the negotiations that are under way.
   */
  share(tracks: SharedTracks): Promise<void> {
    return this.queue(async () => {
      if (await this.send(tracks)) await this.offer();
    });
  }

  /** send gives the tracks to their senders; true when there is a new one. */
  private async send(tracks: SharedTracks): Promise<boolean> {
    let isNew = false;
    for (const source of ["screen", "screen_audio"] as const) {
      const track = tracks[source];
      let t = this.shared.get(source);
      if (!t && track) {
        t = source === "screen" ? this.addSender("video", source, screenEncodings) : this.addSender("audio", source, undefined);
        this.shared.set(source, t);
        isNew = true;
      }
      if (t) await this.replace(t.sender, track);
    }
    return isNew;
  }

  /** offers says whether the service knows of this source. */
  offers(source: Source): boolean {
    return source === "mic" || source === "camera" || this.shared.has(source);
  }

  /**
   * negotiate grows the pool of receivers to what is wanted and offers, if this
   * is the first time or the pool grew. What is shared then goes along. Calls
   * queue up behind each other.
   */
  negotiate(wanted: { audio: number; video: number }, shared: SharedTracks | null = null): Promise<void> {
    return this.queue(async () => {
      const isNew = shared !== null && (await this.send(shared));
      const grew = [this.grow("audio", wanted.audio), this.grow("video", wanted.video)].includes(true);
      if (grew || isNew) await this.offer();
    });
  }

  private queue(task: () => Promise<void>): Promise<void> {
    this.negotiation = this.negotiation.then(async () => {
      if (!this.closed) await task();
    });
    return this.negotiation;
  }

  /** track of the receiver with this mid. */
  track(mid: string): MediaStreamTrack | undefined {
    return this.ofMid(mid)?.receiver.track;
  }

  /** audioTracks are those of all audio receivers, filled or not. */
  audioTracks(): MediaStreamTrack[] {
    return this.receivers.audio.map((t) => t.receiver.track);
  }

  get isConnected(): boolean {
    return this.pc.connectionState === "connected";
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.watchdog);
    this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  private addSender(kind: Kind, source: Source, sendEncodings: RTCRtpEncodingParameters[] | undefined): RTCRtpTransceiver {
    const mid = this.nextMid();
    const t = this.pc.addTransceiver(kind, { direction: "sendonly", ...(sendEncodings && { sendEncodings }) });
    t.sender.transform = this.makeTransform({ side: "send", source });
    this.guard(t, mid); // it should never receive; if it did, nothing would come through
    this.prefer(t, kind);
    return t;
  }

  private grow(kind: Kind, wanted: number): boolean {
    const pool = this.receivers[kind];
    const size = poolSize(pool.length, wanted);
    const grew = size > pool.length;
    while (pool.length < size) pool.push(this.addReceiver(kind));
    return grew;
  }

  private addReceiver(kind: Kind): RTCRtpTransceiver {
    const mid = this.nextMid();
    const t = this.pc.addTransceiver(kind, { direction: "recvonly" });
    this.guard(t, mid);
    this.prefer(t, kind);
    return t;
  }

  private nextMid(): string {
    return String(this.pc.getTransceivers().length);
  }

  /**
   * A receiver's transform must know its mid, and it must be there before the
   * mid is: browsers number m-lines in the order they were added, so the mid is
   * predicted here and checked in settleMids. Until the answer nothing is
   * bound to a mid, and a frame under a wrong one would not open.
   */
  private guard(t: RTCRtpTransceiver, mid: string): void {
    t.receiver.transform = this.makeTransform({ side: "receive", mid });
    this.predicted.set(t, mid);
  }

  private settleMids(): void {
    for (const [t, mid] of this.predicted) {
      if (t.mid !== null && t.mid !== mid) t.receiver.transform = this.makeTransform({ side: "receive", mid: t.mid });
    }
    this.predicted.clear();
  }

  private prefer(t: RTCRtpTransceiver, kind: Kind): void {
    const control = t.getHeaderExtensionsToNegotiate?.bind(t);
    const codecs = RTCRtpReceiver.getCapabilities(kind)?.codecs;
    // Firefox must keep all its payload types.
    if (codecs) t.setCodecPreferences(orderCodecs(kind, codecs, !isFirefox(t)));
    if (control) t.setHeaderExtensionsToNegotiate?.(chooseExtensions(kind, control()));
  }

  private async offer(): Promise<void> {
    await this.pc.setLocalDescription();
    this.settleMids();
    const sdp = this.pc.localDescription?.sdp ?? "";
    const tracks: OfferedTrack[] = [];
    for (const [source, { mid }] of this.senders()) if (mid !== null) tracks.push({ mid, source });
    const answer = await this.exchange(sdp, tracks);
    if (this.closed) return;
    await this.pc.setRemoteDescription({ type: "answer", sdp: answer });
    for (const { source, mid } of tracks) this.codecs.set(source, sendCodec(answer, mid));
    await this.relayer();
    if (this.pc.connectionState !== "connected") this.arm(connectMs);
  }

  /** relayer brings the encodings to what their codecs can have. */
  private async relayer(): Promise<void> {
    this.layering = layeringFor(this.codecs.get("camera") ?? "", isFirefox(this.camera));
    await this.configure();
  }

  private senders(): [Source, RTCRtpTransceiver][] {
    return [["mic", this.mic], ["camera", this.camera], ...this.shared];
  }

  private ofMid(mid: string): RTCRtpTransceiver | undefined {
    return this.pc.getTransceivers().find((t) => t.mid === mid);
  }

  private watch(): void {
    switch (this.pc.connectionState) {
      case "connected":
        clearTimeout(this.watchdog);
        break;
      case "disconnected":
        this.arm(disconnectedMs);
        break;
      case "failed":
        this.fail();
        break;
    }
  }

  private arm(ms: number): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.fail(), ms);
  }

  private fail(): void {
    if (this.closed) return;
    this.close();
    this.lost();
  }
}

/** setEncodings changes the encodings of a sender, if that changes anything. Before the first negotiation there may be none yet. */
async function setEncodings(sender: RTCRtpSender, change: (rid: string | undefined) => object, preference?: RTCDegradationPreference): Promise<void> {
  const parameters = sender.getParameters();
  const before = JSON.stringify(parameters);
  for (const encoding of parameters.encodings) Object.assign(encoding, change(encoding.rid));
  if (preference) parameters.degradationPreference = preference;
  if (parameters.encodings.length === 0 || JSON.stringify(parameters) === before) return;
  await sender.setParameters(parameters).catch(() => undefined);
}

/** isFirefox: it has no control over header extensions, Chromium does. */
function isFirefox(t: RTCRtpTransceiver): boolean {
  return t.getHeaderExtensionsToNegotiate === undefined;
}
