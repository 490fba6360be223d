// The panel with the figures of the call.

import type { Counters } from "../../../e2ee/js/src/messages.ts";
import { closeOnEscape } from "./controls.ts";
import { el, on } from "./dom.ts";
import { icon } from "./icons.ts";
import { bitrate, StatsReader, type Figures, type StreamFigures } from "./stats.ts";

const everyMs = 1000;

export interface StatsSource {
  report(): Promise<RTCStatsReport | null>;
  counters(): Counters | null;
  /** What is in an m-line: "Ada", "Ada, screen"; "" when nothing is. */
  labelOf(mid: string): string;
}

export class StatsPanel {
  readonly element: HTMLElement;

  private readonly summary = el("dl", { class: "figures" });
  private readonly rows = el("tbody");
  private reader = new StatsReader();
  private timer: number | undefined;
  private readonly source: StatsSource;

  constructor(source: StatsSource, close: () => void) {
    this.source = source;
    const columns = ["Stream", "Picture", "Rate", "Loss", "Codec", "Freezes"];
    this.element = el(
      "aside",
      { class: "panel", "aria-label": "Statistics", tabindex: "-1", hidden: true },
      el("header", {}, el("h2", {}, "Statistics"), on(el("button", { type: "button", class: "small-control", "aria-label": "Close statistics" }, icon("close")), "click", close)),
      this.summary,
      el("table", {}, el("thead", {}, el("tr", {}, ...columns.map((c) => el("th", { scope: "col" }, c)))), this.rows),
    );
    closeOnEscape(this.element, close);
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  set open(open: boolean) {
    this.element.hidden = !open;
    clearInterval(this.timer);
    if (!open) return;
    this.element.focus();
    this.reader = new StatsReader();
    this.timer = setInterval(() => void this.refresh(), everyMs);
    void this.refresh();
  }

  dispose(): void {
    clearInterval(this.timer);
  }

  private async refresh(): Promise<void> {
    const report = await this.source.report().catch(() => null);
    if (!report || !this.open) return;
    const entries: Parameters<StatsReader["read"]>[0] & unknown[] = [];
    report.forEach((e: (typeof entries)[number]) => entries.push(e));
    const figures = this.reader.read(entries);
    this.showSummary(figures);
    const sent = figures.sent.filter((s) => s.bitsPerSecond > 0).sort((a, b) => a.width - b.width).map((s) => row(`You${s.rid === "" ? "" : `, layer ${s.rid}`}`, s));
    const received = figures.received
      .map((s) => ({ s, label: this.source.labelOf(s.mid) }))
      .filter(({ label }) => label !== "")
      .sort((a, b) => a.label.localeCompare(b.label) || a.s.kind.localeCompare(b.s.kind));
    this.rows.replaceChildren(...sent, ...received.map(({ s, label }) => row(label, s)));
  }

  private showSummary(f: Figures): void {
    const counters = this.source.counters();
    const dropped = Object.values(counters?.dropped ?? {}).reduce((sum, n) => sum + n, 0);
    const pairs: [string, string][] = [
      ["Round trip", f.rttMs === null ? "unknown" : `${Math.round(f.rttMs)} ms`],
      ["Path", [f.transport.toUpperCase(), f.cipher.replace(/^SRTP_(AEAD_)?/, "").replaceAll("_", " ")].filter(Boolean).join(", ") || "unknown"],
      ["Room to send", f.available === null ? "unknown" : bitrate(f.available)],
      ["Frames sealed, opened", counters ? `${counters.framesProtected}, ${counters.framesOpened}` : "none yet"],
      ["Frames and messages refused", String(dropped)],
    ];
    this.summary.replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }
}

function row(label: string, s: StreamFigures): HTMLElement {
  const picture = s.kind === "audio" ? "sound" : s.height > 0 ? `${s.width} × ${s.height}, ${Math.round(s.fps)} fps` : "none";
  const cells = [picture, bitrate(s.bitsPerSecond), s.loss === null ? "" : `${(100 * s.loss).toFixed(1)} %`, s.codec, s.kind === "video" && s.rid === "" ? String(s.freezes) : ""];
  return el("tr", {}, el("th", { scope: "row" }, label), ...cells.map((c) => el("td", {}, c)));
}
