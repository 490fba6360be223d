// The tabs of a browser agree by a Web Lock who takes part in a room under the
// key that the browser keeps.

/** Between two questions for a lock that another tab has. */
const askAgainMs = 25;
/** A browser that does not answer for so long does not answer. */
const answerWithinMs = 3000;

/**
 * Takes a lock and gives what releases it, or null if another tab keeps it for
 * waitMs. It asks again and again and never lets the browser wait: Chromium on a
 * busy machine answers a request that is aborted while it waits not at all, one
 * time in some dozens, and who joins would hang on it.
 */
export async function takeLock(locks: LockManager, name: string, waitMs: number): Promise<(() => void) | null> {
  const end = performance.now() + waitMs;
  for (;;) {
    const answer = await ask(locks, name);
    if (answer !== "taken") return answer;
    if (performance.now() >= end) return null;
    await new Promise((resolve) => setTimeout(resolve, askAgainMs));
  }
}

/** null: the browser refuses, or is silent. */
function ask(locks: LockManager, name: string): Promise<(() => void) | "taken" | null> {
  return new Promise((resolve) => {
    let isLate = false;
    const silence = setTimeout(() => {
      isLate = true;
      resolve(null);
    }, answerWithinMs);
    const granted = (lock: Lock | null): Promise<void> | undefined => {
      clearTimeout(silence);
      if (!lock) resolve("taken");
      else if (!isLate) return new Promise((release) => resolve(release));
      return undefined;
    };
    locks.request(name, { ifAvailable: true }, granted).catch(() => {
      clearTimeout(silence);
      resolve(null);
    });
  });
}
