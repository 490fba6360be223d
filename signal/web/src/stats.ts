// Figures of the running call from getStats(): pure, so that it can be tested.

/** One stream: a layer that is sent, or a track that is received. */
export interface StreamFigures {
  key: string;
  mid: string;
  rid: string;
  kind: "audio" | "video";
  codec: string;
  /** 0 x 0 for sound, and while there is no picture. */
  width: number;
  height: number;
  fps: number;
  bitsPerSecond: number;
  /** Share of packets lost since the last look, 0 to 1; null where it is not known. */
  loss: number | null;
  freezes: number;
}

export interface Figures {
  sent: StreamFigures[];
  received: StreamFigures[];
  /** Milliseconds; null while unknown. */
  rttMs: number | null;
  /** "udp" or "tcp", "" while unknown. */
  transport: string;
  /** What the sender believes the path carries, bits per second; null where the browser does not say. */
  available: number | null;
  cipher: string;
}

type Entry = Record<string, unknown> & { id: string; type: string; timestamp: number };

interface Before {
  at: number;
  bytes: number;
  packets: number;
  lost: number;
}

export class StatsReader {
  private before = new Map<string, Before>();

  /** read compares a report with the one before it. */
  read(entries: Iterable<Entry>): Figures {
    const all = new Map<string, Entry>();
    for (const e of entries) all.set(e.id, e);
    const list = [...all.values()];
    const now = new Map<string, Before>();
    const stream = (e: Entry, bytes: string, packets: string, lost: Entry | undefined): StreamFigures => {
      const current: Before = { at: e.timestamp, bytes: number(e[bytes]), packets: number(e[packets]), lost: number(lost?.["packetsLost"]) };
      now.set(e.id, current);
      const last = this.before.get(e.id);
      const seconds = last ? (current.at - last.at) / 1000 : 0;
      const lostNow = last ? Math.max(0, current.lost - last.lost) : 0;
      const expected = last ? current.packets - last.packets + lostNow : 0;
      return {
        key: e.id,
        mid: text(e["mid"]),
        rid: text(e["rid"]),
        kind: e["kind"] === "video" ? "video" : "audio",
        codec: text(all.get(text(e["codecId"]))?.["mimeType"]).replace(/^.*\//, ""),
        width: number(e["frameWidth"]),
        height: number(e["frameHeight"]),
        fps: number(e["framesPerSecond"]),
        bitsPerSecond: last && seconds > 0 ? Math.max(0, (8 * (current.bytes - last.bytes)) / seconds) : 0,
        loss: !lost || expected <= 0 ? null : Math.min(1, lostNow / expected),
        freezes: number(e["freezeCount"]),
      };
    };
    const remote = (e: Entry): Entry | undefined => list.find((r) => r.type === "remote-inbound-rtp" && r["localId"] === e.id);
    const sent = list.filter((e) => e.type === "outbound-rtp").map((e) => stream(e, "bytesSent", "packetsSent", remote(e)));
    const received = list.filter((e) => e.type === "inbound-rtp").map((e) => stream(e, "bytesReceived", "packetsReceived", e));
    this.before = now;
    const transport = list.find((e) => e.type === "transport");
    const pair = all.get(text(transport?.["selectedCandidatePairId"])) ?? list.find((e) => e.type === "candidate-pair" && e["nominated"] === true && e["state"] === "succeeded");
    const rtt = pair?.["currentRoundTripTime"] ?? list.find((e) => e.type === "remote-inbound-rtp" && typeof e["roundTripTime"] === "number")?.["roundTripTime"];
    const available = pair?.["availableOutgoingBitrate"];
    return {
      sent,
      received,
      rttMs: typeof rtt === "number" ? rtt * 1000 : null,
      transport: text(all.get(text(pair?.["localCandidateId"]))?.["protocol"]),
      available: typeof available === "number" ? available : null,
      cipher: text(transport?.["srtpCipher"]),
    };
  }
}

function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** bitrate in words: "850 kbit/s". */
export function bitrate(bitsPerSecond: number): string {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}
