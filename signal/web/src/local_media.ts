// Own microphone and camera. Muting keeps the microphone open, so that speaking
// again is immediate; switching the camera off releases it, so that its light
// goes out.

import { deviceProblem, type Problem } from "./problems.ts";

export type DeviceKind = "mic" | "camera";

/** Opens a camera; replaced in tests by a drawn picture. */
export type OpenCamera = (deviceId: string | null) => Promise<MediaStreamTrack>;

const inputKind = { mic: "audioinput", camera: "videoinput" } as const;
const storageKey = { mic: "sotto.mic", camera: "sotto.camera" } as const;

export class LocalMedia {
  mic: MediaStreamTrack | null = null;
  camera: MediaStreamTrack | null = null;
  micOn = true;
  cameraOn = true;

  /** What went wrong with each device the last time it was asked for. */
  readonly problems: Record<DeviceKind, Problem | null> = { mic: null, camera: null };

  private listeners = new Set<() => void>();
  private readonly turns: Record<DeviceKind, Promise<void>> = { mic: Promise.resolve(), camera: Promise.resolve() };
  private stopped = false;
  private readonly openCamera: OpenCamera;

  constructor(openCamera: OpenCamera = openDeviceCamera) {
    this.openCamera = openCamera;
  }

  /** subscribe calls back after every change; the result ends it. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** live says whether this device really sends. */
  live(kind: DeviceKind): boolean {
    return kind === "mic" ? this.micOn && this.mic !== null : this.cameraOn && this.camera !== null;
  }

  /** setOn switches a device. What goes wrong is in problems, and the device is off then. */
  setOn(kind: DeviceKind, on: boolean): Promise<void> {
    if (kind === "mic") this.micOn = on;
    else this.cameraOn = on;
    this.changed();
    return this.settle(kind, false);
  }

  /** choose takes another device, and keeps the choice for next time. */
  choose(kind: DeviceKind, deviceId: string): Promise<void> {
    keepChoice(kind, deviceId);
    return this.settle(kind, true);
  }

  /** devices lists what there is to choose from; names are there after permission only. */
  async devices(kind: DeviceKind): Promise<MediaDeviceInfo[]> {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    return all.filter((d) => d.kind === inputKind[kind] && d.deviceId !== "");
  }

  /** forgetProblems is for a person who has seen them and goes on without the device. */
  forgetProblems(): void {
    this.problems.mic = this.problems.camera = null;
  }

  /** stop releases both devices for good. */
  stop(): void {
    this.stopped = true;
    this.mic?.stop();
    this.camera?.stop();
    this.mic = this.camera = null;
    this.listeners.clear();
  }

  /** settle brings the device to what is wanted; one change at a time per device. */
  private settle(kind: DeviceKind, reopen: boolean): Promise<void> {
    const next = this.turns[kind].then(() => (kind === "mic" ? this.settleMic(reopen) : this.settleCamera(reopen)));
    this.turns[kind] = next;
    return next;
  }

  private async settleMic(reopen: boolean): Promise<void> {
    if (this.micOn && (this.mic === null || reopen)) {
      const track = await this.open("mic", openDeviceMic);
      if (track) {
        this.mic?.stop();
        this.mic = track;
      }
      if (!this.mic) this.micOn = false;
    }
    if (this.mic) this.mic.enabled = this.micOn;
    this.changed();
  }

  private async settleCamera(reopen: boolean): Promise<void> {
    if (this.camera && (!this.cameraOn || reopen)) {
      this.camera.stop();
      this.camera = null;
    }
    if (this.cameraOn && this.camera === null) {
      this.camera = await this.open("camera", this.openCamera);
      if (!this.camera) this.cameraOn = false;
    }
    this.changed();
  }

  private async open(kind: DeviceKind, from: OpenCamera): Promise<MediaStreamTrack | null> {
    this.problems[kind] = null;
    try {
      const track = await from(choice(kind));
      if (this.stopped) {
        track.stop();
        return null;
      }
      track.onended = () => this.ended(kind, track);
      return track;
    } catch (error) {
      this.problems[kind] = deviceProblem(kind, error instanceof Error ? error.name : "");
      return null;
    }
  }

  /** The device was unplugged or taken away. */
  private ended(kind: DeviceKind, track: MediaStreamTrack): void {
    if (this[kind] !== track) return;
    this[kind] = null;
    this.problems[kind] = deviceProblem(kind, "NotFoundError");
    void this.setOn(kind, false);
  }

  private changed(): void {
    if (this.stopped) return;
    for (const listener of this.listeners) listener();
  }
}

async function openDeviceMic(deviceId: string | null): Promise<MediaStreamTrack> {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { ...prefer(deviceId), echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  return first(stream);
}

// 720 lines where machine and device manage; else 540, the least of which
// Chromium still sends three layers.
const full = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const reduced = { width: { ideal: 960 }, height: { ideal: 540 }, frameRate: { ideal: 30, max: 30 } };
const fewCores = 2;

async function openDeviceCamera(deviceId: string | null): Promise<MediaStreamTrack> {
  const size = navigator.hardwareConcurrency <= fewCores ? reduced : full;
  const track = first(await navigator.mediaDevices.getUserMedia({ video: { ...prefer(deviceId), ...size } }));
  const { width = 0, height = 0 } = track.getSettings();
  if (width * height < 960 * 540) {
    // The browser took the nearest mode below; ask for one above, if there is one.
    await track.applyConstraints({ width: { min: 960, ideal: 960 }, height: { min: 540, ideal: 540 } }).catch(() => undefined);
  }
  track.contentHint = "motion";
  return track;
}

function prefer(deviceId: string | null): MediaTrackConstraints {
  return deviceId === null ? {} : { deviceId: { ideal: deviceId } };
}

function first(stream: MediaStream): MediaStreamTrack {
  const track = stream.getTracks()[0];
  if (!track) throw new DOMException("no track", "NotFoundError");
  return track;
}

function choice(kind: DeviceKind): string | null {
  try {
    return localStorage.getItem(storageKey[kind]);
  } catch {
    return null;
  }
}

function keepChoice(kind: DeviceKind, deviceId: string): void {
  try {
    localStorage.setItem(storageKey[kind], deviceId);
  } catch {
    // Then it holds for this page only.
  }
}
