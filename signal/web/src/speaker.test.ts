import assert from "node:assert/strict";
import { test } from "node:test";
import { sameSpeakers, SpeakerDetector, type AudioSums, type Speakers } from "./speaker.ts";

const pollMs = 300;

/** Plays levels (root mean square) to a detector, poll after poll. */
class Room {
  private readonly detector = new SpeakerDetector();
  private readonly sums = new Map<string, AudioSums>();
  private now = 0;

  poll(levels: Record<string, number>): Speakers {
    for (const id of this.sums.keys()) if (!(id in levels)) this.sums.delete(id);
    for (const [id, level] of Object.entries(levels)) {
      const { energy, seconds } = this.sums.get(id) ?? { energy: 0, seconds: 0 };
      this.sums.set(id, { energy: energy + level ** 2 * pollMs / 1000, seconds: seconds + pollMs / 1000 });
    }
    this.now += pollMs;
    return this.detector.update(new Map(this.sums), this.now);
  }

  after(polls: number, levels: Record<string, number>): Speakers {
    let last = this.poll(levels);
    for (let i = 1; i < polls; i++) last = this.poll(levels);
    return last;
  }
}

test("who speaks is marked, a quiet room is not", () => {
  const room = new Room();
  const { speaking, active } = room.after(3, { a: 0.1, b: 0.002 });
  assert.deepEqual([...speaking], ["a"]);
  assert.equal(active, "a");
});

test("a pause between words changes nothing, silence ends speaking, the picture stays", () => {
  const room = new Room();
  room.after(3, { a: 0.1, b: 0 });
  assert.equal(room.after(2, { a: 0, b: 0 }).speaking.has("a"), true);
  const later = room.after(3, { a: 0, b: 0 });
  assert.equal(later.speaking.size, 0);
  assert.equal(later.active, "a");
});

test("a cough does not take the floor, a louder voice does after a while, a free floor at once", () => {
  const room = new Room();
  room.after(2, { a: 0.1, b: 0 });
  assert.equal(room.after(1, { a: 0.1, b: 0.5 }).active, "a");
  assert.equal(room.after(6, { a: 0.1, b: 0.5 }).active, "b");
  room.after(6, { a: 0, b: 0 });
  assert.equal(room.after(2, { a: 0.1, b: 0 }).active, "a");
});

test("who leaves is not the speaker any more, and sums that fall are a new start", () => {
  const room = new Room();
  room.after(3, { a: 0.1, b: 0 });
  assert.equal(room.poll({ b: 0 }).active, null);
  const detector = new SpeakerDetector();
  detector.update(new Map([["a", { energy: 5, seconds: 50 }]]), 0);
  const { speaking } = detector.update(new Map([["a", { energy: 1, seconds: 1 }]]), pollMs);
  assert.equal(speaking.size, 0);
});

test("the same speakers are the same", () => {
  const s = (active: string | null, ...speaking: string[]): Speakers => ({ active, speaking: new Set(speaking) });
  assert.ok(sameSpeakers(s("a", "a", "b"), s("a", "b", "a")));
  assert.ok(!sameSpeakers(s("a", "a"), s("a", "b")));
  assert.ok(!sameSpeakers(s("a", "a"), s("b", "a")));
});
