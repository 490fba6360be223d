// The rows of an adaptation test: what is read from a run's samples, and the verdict.

import { percentile } from "./room.mjs";

const between = (samples, from, to) => samples.filter((s) => s.at >= from && s.at < to);
const last = (samples, at) => samples.findLast((s) => s.at <= at) ?? samples[0];
const stands = 500; // ms without a new frame after which a picture stands still

const measures = {
  /** Seconds until the picture had these lines. */
  untilLines(run, row, from, to) {
    const first = between(run.viewer, from, to).find((s) => s.video.frameHeight >= row.lines && s.video.framesDecoded > 0);
    return { value: first ? (first.at - from) / 1000 : Infinity, unit: "s" };
  },

  /** Share of the time in which the picture had these lines and moved. */
  onLines(run, row, from, to) {
    return { value: 100 * shareOn(run, from, to, (height) => height >= row.lines), unit: "%" };
  },

  /** Share of the time on the highest layer that fits into a rate beside the sound; higher ones do not count. */
  onBestLayer(run, row, from, to) {
    const best = bestLayer(run, row.kbps);
    return { value: 100 * shareOn(run, from, to, (height) => height === best.height), unit: "%", note: `${best.height} lines` };
  },

  /** Seconds until what the server sends stays under a rate, on the average of half a second. */
  untilSentUnder(run, row, from, to) {
    const rates = sentRates(run.link);
    const half = 5;
    const i = rates.findIndex((r, i) => r.at > from && r.at < to && r.kbps <= row.kbps && mean(rates.slice(i, i + half).map((x) => x.kbps)) <= row.kbps);
    return { value: i < 0 ? Infinity : Math.max(rates[i].from - from, 0) / 1000, unit: "s" };
  },

  /** Seconds of freezes by the browser's own count, and what stands at the end and is not counted yet. */
  frozen(run, row, from, to) {
    const [first, end] = [last(run.viewer, from), last(run.viewer, to)];
    const still = between(run.viewer, from, to).find((s) => s.video.framesDecoded === end.video.framesDecoded) ?? end;
    const open = end.at - still.at > stands ? (end.at - still.at) / 1000 : 0;
    return {
      value: end.video.totalFreezesDuration - first.video.totalFreezesDuration + open, unit: "s",
      note: `${end.video.freezeCount - first.video.freezeCount} freezes`,
    };
  },

  /** 95th percentile of the queue, ms. */
  queue(run, row, from, to) {
    return { value: percentile(between(run.link, from, to).map((s) => s.queue_ms), 0.95), unit: "ms" };
  },

  /** Share of the sound that the receiver made up. */
  concealed(run, row, from, to) {
    const [first, end] = [last(run.viewer, from).audio, last(run.viewer, to).audio];
    return { value: (100 * (end.concealedSamples - first.concealedSamples)) / (end.totalSamplesReceived - first.totalSamplesReceived), unit: "%" };
  },
};

/** measure returns { value, unit, target, verdict, note } of a row. */
export function measure(row, run) {
  const { value, unit, note = "" } = measures[row.measure](run, row, run.times[row.from], run.times[row.to]);
  const target = row.most !== undefined ? `≤ ${row.most} ${unit}` : row.least !== undefined ? `≥ ${row.least} ${unit}` : "-";
  // Not `value > most`: what is not a number has missed.
  const met = row.most !== undefined ? value <= row.most : row.least !== undefined ? value >= row.least : true;
  return { value, unit, note, target, verdict: target === "-" ? "reported" : met ? "met" : "missed" };
}

export function table(rows) {
  const shown = ({ value, unit }) => (value === Infinity ? "never" : `${value.toFixed(2)} ${unit}`);
  return ["| figure | target | Chromium | verdict |", "|---|---|---|---|",
    ...rows.map((row) => `| ${row.figure}${row.note ? ` (${row.note})` : ""} | ${row.target} | ${shown(row)} | ${row.verdict} |`),
  ].join("\n");
}

/** describe tells of a run what the table needs beside it: the layers as they were sent, and whether the machine kept up. */
export function describe(run) {
  const layers = layersOf(run).map((l) => `${l.height} lines ${l.kbps.toFixed(0)} kbit/s`).join(", ");
  const gaps = run.viewer.slice(1).map((s, i) => s.at - run.viewer[i].at);
  const rates = run.publisher.map((s) => Math.max(0, ...s.layers.map((l) => l.framesPerSecond)));
  const slow = rates.filter((fps) => fps < 0.9 * percentile(rates, 0.9)).length / rates.length;
  const server = Object.entries(run.server.at(-1) ?? {}).filter(([name]) => name !== "at").map(([name, value]) => `${name} ${value}`).join(", ");
  return `Layers of the publisher while sent: ${layers}; sound ${soundOf(run).toFixed(0)} kbit/s.\n` +
    `Server: ${server}.\n` +
    `Load average ${run.load.map((l) => l.toFixed(1)).join(" to ")}; the viewer's page stalled for more than 300 ms ${gaps.filter((g) => g > 300).length} times, ` +
    `for ${Math.max(...gaps)} ms at most; the publisher encoded less than nine tenths of its frames in ${(100 * slow).toFixed(0)} % of the time.`;
}

/** sentRates turns the link's counter into { from, at, kbps } of each interval. */
export function sentRates(link) {
  return link.slice(1).map((s, i) => ({ from: link[i].at, at: s.at, kbps: ((s.sent - link[i].sent) * 8) / (s.at - link[i].at) }));
}

// What IPv4, UDP and the SRTP tag add to an RTP packet; bytesSent and headerBytesSent are without.
const wireOverhead = 20 + 8 + 16;
const wireBytes = (s) => (s ? s.bytesSent + s.headerBytesSent + wireOverhead * s.packetsSent : 0);

/** layersOf gives the median rate of every layer that the publisher sent, as on the wire, lowest first. */
function layersOf(run) {
  const rates = new Map();
  forEachSecond(run.publisher, (before, after) => {
    for (const layer of after.layers) {
      const kbps = rate(before, after, (s) => s.layers.find((l) => l.rid === layer.rid));
      if (layer.frameHeight === 0 || layer.framesPerSecond === 0 || kbps < 10) continue;
      if (!rates.has(layer.frameHeight)) rates.set(layer.frameHeight, []);
      rates.get(layer.frameHeight).push(kbps);
    }
  });
  return [...rates].map(([height, list]) => ({ height, kbps: percentile(list, 0.5) })).sort((a, b) => a.height - b.height);
}

/** soundOf gives the median rate of the publisher's sound. */
function soundOf(run) {
  const rates = [];
  forEachSecond(run.publisher, (before, after) => rates.push(rate(before, after, (s) => s.sound)));
  return percentile(rates, 0.5);
}

const rate = (before, after, of) => ((wireBytes(of(after)) - wireBytes(of(before))) * 8) / (after.at - before.at);

function forEachSecond(samples, visit) {
  const second = 10;
  for (let i = second; i < samples.length; i += second) visit(samples[i - second], samples[i]);
}

function bestLayer(run, kbps) {
  const layers = layersOf(run);
  return layers.findLast((l) => l.kbps + soundOf(run) <= kbps) ?? layers[0];
}

/** shareOn weighs every sample with the time to the next; a picture that stands still is on no layer. */
function shareOn(run, from, to, holds) {
  const samples = between(run.viewer, from, to);
  let on = 0, moved = from, frames = -1;
  samples.forEach((s, i) => {
    if (s.video.framesDecoded !== frames) [moved, frames] = [s.at, s.video.framesDecoded];
    if (holds(s.video.frameHeight) && s.at - moved < stands) on += (samples[i + 1]?.at ?? to) - s.at;
  });
  return on / (to - from);
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
