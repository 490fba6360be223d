// Who speaks, from the sound as it is played here: the service is not told
// levels and cannot say.

/** Sums of one receiver since it began (webrtc-stats: totalAudioEnergy, totalSamplesDuration). */
export interface AudioSums {
  energy: number;
  seconds: number;
}

export interface Speakers {
  speaking: ReadonlySet<string>;
  /** Who speaks loudest for a while; stays when nobody speaks. */
  active: string | null;
}

// Root mean square of full scale; speech at a microphone lies above, a quiet
// room below: about -38 dB.
const loud = 0.0126;

// Pauses between words are shorter than this.
const holdMs = 700;

// The large picture changes at most this often, or it is no rest for the eye.
const settleMs = 1500;

// Who takes over is louder than who has the floor by this, unless that one is silent.
const louder = 1.6;

// Weight of the newest level; half of the rest is forgotten with each poll.
const newest = 0.5;

interface Voice {
  sums: AudioSums;
  level: number;
  loudAt: number;
}

export class SpeakerDetector {
  private readonly voices = new Map<string, Voice>();
  private active: string | null = null;
  private activeSince = -Infinity;

  /** update takes the sums of everybody who is heard, by connection. */
  update(sums: ReadonlyMap<string, AudioSums>, nowMs: number): Speakers {
    for (const id of this.voices.keys()) if (!sums.has(id)) this.voices.delete(id);
    for (const [id, now] of sums) this.hear(id, now, nowMs);
    const speaking = new Set([...this.voices].filter(([, v]) => nowMs - v.loudAt < holdMs).map(([id]) => id));
    this.choose(speaking, nowMs);
    return { speaking, active: this.active };
  }

  private hear(id: string, now: AudioSums, nowMs: number): void {
    const voice = this.voices.get(id);
    // The first sums say nothing about now; smaller ones are of another receiver.
    if (!voice || now.seconds < voice.sums.seconds || now.energy < voice.sums.energy) {
      this.voices.set(id, { sums: now, level: 0, loudAt: voice?.loudAt ?? -Infinity });
      return;
    }
    const seconds = now.seconds - voice.sums.seconds;
    const level = seconds > 0 ? Math.sqrt((now.energy - voice.sums.energy) / seconds) : 0;
    voice.sums = now;
    voice.level = newest * level + (1 - newest) * voice.level;
    if (level > loud) voice.loudAt = nowMs;
  }

  private choose(speaking: ReadonlySet<string>, nowMs: number): void {
    const level = (id: string): number => this.voices.get(id)?.level ?? 0;
    const loudest = [...speaking].sort((a, b) => level(b) - level(a))[0];
    if (this.active !== null && !this.voices.has(this.active)) this.active = null;
    if (loudest === undefined || loudest === this.active) return;
    const floorFree = this.active === null || !speaking.has(this.active);
    const takesOver = floorFree || (level(loudest) > louder * level(this.active ?? "") && nowMs - this.activeSince >= settleMs);
    if (!takesOver) return;
    this.active = loudest;
    this.activeSince = nowMs;
  }
}

export function sameSpeakers(a: Speakers, b: Speakers): boolean {
  return a.active === b.active && a.speaking.size === b.speaking.size && [...a.speaking].every((id) => b.speaking.has(id));
}
