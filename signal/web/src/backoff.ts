// How long to wait before the next attempt to come back.

const firstMs = 400;
const capMs = 8000;

/**
 * backoffMs for attempt 1, 2, …: doubles up to the cap; random is in [0, 1) and
 * spreads clients that lost the same server over half of the wait.
 */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(capMs, firstMs * 2 ** Math.max(0, attempt - 1));
  return Math.round(full * (0.5 + random / 2));
}
