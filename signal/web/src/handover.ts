// From a media session that ends to its successor: the former goes on, shown
// and heard, until the new one brings what it brings.

import type { Slot, Source } from "./protocol.ts";
import type { SlotMap } from "./slots.ts";

// For this long the former session may be all there is to see; then the new
// one is shown as it is.
export const handoverMs = 5000;

// The others may be that much later to take over: they still get what is sent
// over the former session.
export const lingerMs = 500;

/** arrivals counts the decoded pictures, or the packets of sound, of each m-line. */
export function arrivals(report: RTCStatsReport): Map<string, number> {
  const counts = new Map<string, number>();
  report.forEach((s: RTCInboundRtpStreamStats) => {
    if (s.type === "inbound-rtp" && s.mid !== undefined) counts.set(s.mid, (s.kind === "video" ? s.framesDecoded : s.packetsReceived) ?? 0);
  });
  return counts;
}

/** isCaughtUp says whether all that the former slots bring, and that is live still, has begun to arrive in the new ones. */
export function isCaughtUp(former: readonly Slot[], now: SlotMap, arrived: ReadonlyMap<string, number>, isLive: (connId: string, source: Source) => boolean): boolean {
  return former.every(({ connId, source, paused }) => {
    if (paused !== "" || !isLive(connId, source)) return true;
    const slot = now.of(connId, source);
    return slot !== undefined && (slot.paused !== "" || (arrived.get(slot.mid) ?? 0) > 0);
  });
}
