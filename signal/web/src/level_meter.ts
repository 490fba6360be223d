// How loud the own microphone is, here on this machine.

const everyMs = 100;

export class LevelMeter {
  private readonly context = new AudioContext();
  private readonly track: MediaStreamTrack;
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly wake = (): void => void this.context.resume().catch(() => undefined);

  /** Measures a copy of the track, which hears even while the track itself is muted. heard gets the root mean square of full scale, ten times a second. */
  constructor(track: MediaStreamTrack, heard: (level: number) => void) {
    this.track = track.clone();
    this.track.enabled = true;
    const analyser = this.context.createAnalyser();
    analyser.fftSize = 2048;
    this.context.createMediaStreamSource(new MediaStream([this.track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      heard(Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length));
    }, everyMs);
    // Some browsers let a page listen only after a gesture. Nobody waits for it: without a sound card it may never come.
    if (this.context.state === "suspended") this.wake();
    addEventListener("pointerdown", this.wake, { once: true });
  }

  stop(): void {
    clearInterval(this.timer);
    removeEventListener("pointerdown", this.wake);
    this.track.stop();
    void this.context.close().catch(() => undefined);
  }
}

/** Follows a microphone that comes, goes and changes. */
export class MicMeter {
  private meter: LevelMeter | null = null;
  private of: MediaStreamTrack | null = null;
  private readonly heard: (level: number) => void;

  constructor(heard: (level: number) => void) {
    this.heard = heard;
  }

  /** listen measures this track from now on, or nothing. */
  listen(track: MediaStreamTrack | null): void {
    if (track === this.of) return;
    this.meter?.stop();
    this.of = track;
    this.meter = track && new LevelMeter(track, this.heard);
    if (!track) this.heard(0);
  }
}

// Quiet speech is about -40 dB, shouting about -10 dB.
const floorDb = -54;
const topDb = -12;

/** barOf turns a level into the share of a bar, 0 to 1. */
export function barOf(level: number): number {
  if (level <= 0) return 0;
  return Math.min(1, Math.max(0, (20 * Math.log10(level) - floorDb) / (topDb - floorDb)));
}

// Speech, not a key that was pressed: this loud for so many polls in a row.
const speechLevel = 0.03;
const speechPolls = 4;

/** SpeechNotice says once that somebody speaks, until reset. */
export class SpeechNotice {
  private polls = 0;

  /** hear returns true in the moment in which it is clear that this is speech. */
  hear(level: number): boolean {
    if (this.polls >= speechPolls) return false;
    this.polls = level > speechLevel ? this.polls + 1 : 0;
    return this.polls === speechPolls;
  }

  reset(): void {
    this.polls = 0;
  }
}
