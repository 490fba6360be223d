// The own screen, a window or a tab, with its sound where the browser gives it.

import { problem, type Problem } from "./problems.ts";

/** Opens what the person chooses; replaced in tests by a drawn picture. */
export type OpenScreen = () => Promise<MediaStream>;

export type ShareSource = "screen" | "screen_audio";

export class ScreenShare {
  tracks: Record<ShareSource, MediaStreamTrack | null> = { screen: null, screen_audio: null };
  /** Why the last attempt failed, if it was not the person who declined. */
  problem: Problem | null = null;

  private busy = false;
  private stopped = false;
  private readonly listeners = new Set<() => void>();
  private readonly open: OpenScreen;

  constructor(open: OpenScreen = openDisplay) {
    this.open = open;
  }

  get on(): boolean {
    return this.tracks.screen !== null;
  }

  /** subscribe calls back after every change; the result ends it. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** toggle asks what to share, or ends sharing. Call it from a click or a key. */
  async toggle(): Promise<void> {
    if (this.on) {
      this.end();
      return;
    }
    if (this.busy) return;
    this.busy = true;
    this.problem = null;
    try {
      this.begin(await this.open());
    } catch (error) {
      // Who closes the browser's dialog has changed their mind: no problem. A refusal of the system says so in its text alone.
      const declined = error instanceof DOMException && error.name === "NotAllowedError" && !/system/i.test(error.message);
      if (!declined) this.problem = problem("screen_failed");
    } finally {
      this.busy = false;
      this.changed();
    }
  }

  /** stop ends sharing for good. */
  stop(): void {
    this.stopped = true;
    this.listeners.clear();
    this.end();
  }

  private begin(stream: MediaStream): void {
    const [screen] = stream.getVideoTracks();
    if (this.stopped || !screen) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    screen.contentHint = "detail"; // text stays sharp; rather fewer frames
    // The browser's own "stop sharing", or the window was closed.
    screen.onended = () => {
      if (this.tracks.screen === screen) this.end();
    };
    const sound = stream.getAudioTracks()[0] ?? null;
    if (sound) sound.contentHint = "music";
    this.tracks = { screen, screen_audio: sound };
  }

  private end(): void {
    const { screen, screen_audio: sound } = this.tracks;
    screen?.stop();
    sound?.stop();
    this.tracks = { screen: null, screen_audio: null };
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

/** canShare: phones cannot. */
export function canShare(): boolean {
  return "getDisplayMedia" in navigator.mediaDevices;
}

// Members that lib.dom does not know yet (Screen Capture, W3C): not this very
// tab, sound of the whole system where that is possible, another tab without asking again.
const wanted = {
  video: { width: { max: 1920 }, height: { max: 1200 }, frameRate: { ideal: 15, max: 30 } },
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  selfBrowserSurface: "exclude",
  systemAudio: "include",
  surfaceSwitching: "include",
};

function openDisplay(): Promise<MediaStream> {
  return navigator.mediaDevices.getDisplayMedia(wanted);
}
