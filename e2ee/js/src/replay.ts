// Each counter once, none too old, and in the order of time.

export const videoWindow = 1024;
export const audioWindow = 256;

/** Which of the last counter values of a key were opened. */
export class ReplayWindow {
  private top = 0; // one above the highest value
  private readonly seen: Uint8Array;
  private floor = 0; // below: announced as past by the last heartbeat but one
  private beat = 0;

  constructor(private readonly size: number) {
    this.seen = new Uint8Array(size);
  }

  /** null if ctr may be opened, else why not. */
  refuse(ctr: number): "e2ee_replay" | "e2ee_stale" | null {
    if (ctr < this.top && (this.top - ctr > this.size || this.seen[ctr % this.size] === 1)) return "e2ee_replay";
    return ctr < this.floor ? "e2ee_stale" : null;
  }

  /** Records an authentic ctr that is not refused. */
  mark(ctr: number): void {
    if (ctr >= this.top) {
      if (ctr - this.top >= this.size) this.seen.fill(0);
      else for (let c = this.top; c < ctr; c++) this.seen[c % this.size] = 0;
      this.top = ctr + 1;
    }
    this.seen[ctr % this.size] = 1;
  }

  /** The sender's word for its next CTR: the value before it becomes the floor. Going back is ignored. */
  heartbeat(next: number): void {
    if (next >= this.beat) {
      this.floor = this.beat;
      this.beat = next;
    }
  }
}

const orderLength = 64;
const orderForgetMs = 10_000;

// How far two counters must be apart for their timestamps to be compared, for
// video. The up to three layers of one picture are sealed one after the other
// and reach the server in another order, and it may switch layers in between: a
// key frame then follows a frame of the same picture, or of the next one, with
// a higher counter. Eight are the layers of less than three pictures.
const orderSlack = 8;
const videoContexts = [1, 2];

/**
 * Compares the order of RTP timestamps, which the server rewrites, with the
 * order of counters, which it cannot change. One per binding of an m-line to a
 * track: only there timestamps form one timeline. After 10 s without an
 * acceptable frame the timeline is forgotten, so that a server that lost it
 * costs a pause and not the track; the heartbeat floor bounds what that gives.
 */
export class Order {
  private last = 0;
  private kid = -1;
  private frames: { ctr: number; rtp: number }[] = []; // by ascending CTR

  /** Records an authentic frame; false if its order contradicts the others'. */
  accept(now: number, kid: number, ctr: number, rtp: number): boolean {
    if (kid !== this.kid || now - this.last > orderForgetMs) this.frames = [];
    let at = this.frames.length;
    while (at > 0 && this.frames[at - 1]!.ctr > ctr) at--;
    const slack = videoContexts.includes(kid >>> 16) ? orderSlack : 0;
    let low = at - 1;
    let high = at;
    while (low >= 0 && ctr - this.frames[low]!.ctr <= slack) low--;
    while (high < this.frames.length && this.frames[high]!.ctr - ctr <= slack) high++;
    const before = this.frames[low];
    const after = this.frames[high];
    // Differences modulo 2^32; equal timestamps are layers of one picture.
    if (before && ((rtp - before.rtp) | 0) < 0) return false;
    if (after && ((after.rtp - rtp) | 0) < 0) return false;
    this.last = now;
    this.kid = kid;
    if (this.frames.length === orderLength) {
      if (at === 0) return true; // older than everything remembered
      this.frames.shift();
      at--;
    }
    this.frames.splice(at, 0, { ctr, rtp });
    return true;
  }
}
