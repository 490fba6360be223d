// Polls what is heard and tells when somebody begins or ends to speak.

import { sameSpeakers, SpeakerDetector, type AudioSums, type Speakers } from "./speaker.ts";

// Often enough to seem immediate; one report costs about a millisecond.
const everyMs = 300;

/** Reads the statistics; ownerOf names the connection whose microphone is in an m-line. */
export interface Heard {
  report(): Promise<RTCStatsReport>;
  ownerOf(mid: string): string | undefined;
}

export class SpeakerWatch {
  private readonly detector = new SpeakerDetector();
  private last: Speakers = { speaking: new Set(), active: null };
  private timer: number | undefined;
  private stopped = false;

  private readonly heard: Heard;
  private readonly changed: (speakers: Speakers) => void;

  constructor(heard: Heard, changed: (speakers: Speakers) => void) {
    this.heard = heard;
    this.changed = changed;
    this.arm();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private arm(): void {
    // The next poll waits for this one: a busy machine is polled less.
    if (!this.stopped) this.timer = setTimeout(() => void this.poll().catch(() => undefined).finally(() => this.arm()), everyMs);
  }

  private async poll(): Promise<void> {
    const report = await this.heard.report();
    if (this.stopped) return;
    const sums = new Map<string, AudioSums>();
    report.forEach((s: RTCInboundRtpStreamStats) => {
      if (s.type !== "inbound-rtp" || s.kind !== "audio") return;
      const owner = this.heard.ownerOf(s.mid ?? "");
      if (owner !== undefined) sums.set(owner, { energy: s.totalAudioEnergy ?? 0, seconds: s.totalSamplesDuration ?? 0 });
    });
    const now = this.detector.update(sums, performance.now());
    if (sameSpeakers(this.last, now)) return;
    this.last = now;
    this.changed(now);
  }
}
