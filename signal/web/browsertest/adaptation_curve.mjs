// The curve of a run: one line for each 100 ms, as CSV and drawn, in the manner of sfu/sim.

import { sentRates } from "./adaptation_rows.mjs";

/** lines puts the samples of link, viewer and server onto the link's times, ms since the viewer joined. */
export function lines(run) {
  const start = run.times.joined;
  const latest = (samples) => {
    let i = -1;
    return (at) => {
      while (i + 1 < samples.length && samples[i + 1].at <= at) i++;
      return samples[i];
    };
  };
  const [viewer, publisher, server] = [latest(run.viewer), latest(run.publisher), latest(run.server)];
  return sentRates(run.link).map((sent, i) => {
    const link = run.link[i + 1];
    const [shown, source, counters] = [viewer(link.at)?.video, publisher(link.at), server(link.at)];
    return {
      ms: link.at - start, link_kbps: link.rate_kbps, sent_kbps: Math.round(sent.kbps), queue_ms: Math.round(link.queue_ms),
      dropped: link.dropped, lost: link.lost, lines: shown?.frameHeight ?? 0, frames: shown?.framesDecoded ?? 0,
      frozen_ms: Math.round((shown?.totalFreezesDuration ?? 0) * 1000), key_frames: shown?.keyFramesDecoded ?? 0,
      publisher_kbps: Math.round((source?.outgoing ?? 0) / 1000),
      publisher_lines: Math.max(0, ...(source?.layers ?? []).filter((l) => l.framesPerSecond > 0).map((l) => l.frameHeight)),
      switches: counters?.layer_switches_total ?? 0, probe_bytes: counters?.probe_bytes_total ?? 0,
    };
  }).filter((line) => line.ms >= 0 && line.ms <= run.times.end - start);
}

export function csv(curve) {
  const names = Object.keys(curve[0] ?? {});
  return [names.join(","), ...curve.map((line) => names.map((name) => line[name]).join(","))].join("\n") + "\n";
}

const size = { width: 900, height: 260, left: 60, right: 20, top: 30, bottom: 40, strip: 40 };
const queueFull = 400; // ms
const top = 4000; // kbit/s; bursts of less than 100 ms go beyond it
const colours = { capacity: "#bbbbbb", sent: "#1f77b4", [`queue (top: ${queueFull} ms)`]: "#2ca02c", layer: "#7f3fbf", "layer sent": "#d0b0f0", frozen: "#ffcccc" };
const [capacity, sent, queue, layer, layerSent, frozen] = Object.values(colours);

/** svg draws capacity, sent rate and queue over time, freezes as bars, and below the layer shown and the best one published. */
export function svg(scenario, run, curve) {
  const end = run.times.end - run.times.joined;
  const inner = { width: size.width - size.left - size.right, height: size.height - size.top - size.bottom };
  const x = (ms) => (size.left + (inner.width * ms) / end).toFixed(1);
  const y = (part) => (size.top + inner.height * (1 - Math.min(Math.max(part, 0), 1))).toFixed(1);
  const text = (at, down, anchor, words) => `<text x="${at}" y="${down}" text-anchor="${anchor}">${words}</text>`;
  const rungs = [...new Set(curve.map((l) => l.lines))].filter((h) => h > 0).sort((a, b) => a - b);
  const rung = (height) => size.height + size.strip - 15 - 10 * rungs.filter((h) => h <= height).length;
  const path = (colour, at) => `<path fill="none" stroke="${colour}" d="${curve.map((l, i) => `${i ? "L" : "M"}${x(l.ms)} ${at(l)}`).join("")}"/>`;
  const grid = [];
  for (let kbps = 0; kbps <= top; kbps += 1000) {
    grid.push(`<path d="M${size.left} ${y(kbps / top)}H${size.width - size.right}" stroke="#eeeeee"/>`, text(size.left - 4, y(kbps / top), "end", `${kbps / 1000} Mbit/s`));
  }
  for (let ms = 0; ms <= end; ms += 10_000) grid.push(text(x(ms), size.height - size.bottom + 14, "middle", `${ms / 1000} s`));
  // A freeze is counted when it ends: it reaches back from there.
  const freezes = curve.slice(1).flatMap((l, i) => {
    const length = l.frozen_ms - curve[i].frozen_ms;
    return length > 0 ? [`<rect x="${x(l.ms - length)}" y="${size.top}" width="${((inner.width * length) / end).toFixed(1)}" height="${inner.height}" fill="${frozen}"/>`] : [];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height + size.strip}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`, text(size.left, 16, "start", `${scenario.name}, Chromium`),
    ...Object.entries(colours).map(([name, colour], i) => `<rect x="${170 + 120 * i}" y="8" width="10" height="10" fill="${colour}"/>${text(184 + 120 * i, 17, "start", name)}`),
    ...freezes, ...grid,
    path(capacity, (l) => y((l.link_kbps || top) / top)), path(queue, (l) => y(l.queue_ms / queueFull)), path(sent, (l) => y(l.sent_kbps / top)),
    path(layerSent, (l) => rung(l.publisher_lines)), path(layer, (l) => rung(l.lines)),
    ...rungs.map((h) => text(size.left - 4, rung(h) + 4, "end", h)),
    "</svg>", "",
  ].join("\n");
}
