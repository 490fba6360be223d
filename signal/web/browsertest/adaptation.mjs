// Adaptation over an impaired link: a publisher and a viewer, each a Chromium in a network namespace of its own, and `sotto dev`
// in the middle. Runs the scenarios given, one after the other, prints the rows of each with target and verdict, and writes
// a curve (CSV and SVG) and all samples (JSON) for each. Ends with 1 if a row missed its target.
//
//   impair node adaptation.mjs [--out FOLDER] [--attempts N] adaptation/dip.json …
//
// A scenario is the viewer's link at the start, steps at times after the viewer's media connected, and rows: what is measured
// between two of these times. A step may change the viewer's links; `joined` and `end` are times too.

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { network } from "./adaptation_network.mjs";
import { sampleStatistics, texturedCamera } from "./adaptation_page.mjs";
import { csv, lines, svg } from "./adaptation_curve.mjs";
import { describe, measure, table } from "./adaptation_rows.mjs";
import { launch, program } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { enter, sleep } from "./room.mjs";
import { startSotto } from "./server.mjs";

const [publisherHost, viewerHost] = [1, 2];

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string" }, attempts: { type: "string", default: "1" } },
});
const out = options.out ?? (await mkdtemp(join(tmpdir(), "sotto-adaptation-")));
await mkdir(out, { recursive: true });

const net = await network();
const rows = [];
try {
  for (const file of files) {
    const scenario = JSON.parse(await readFile(file, "utf8"));
    rows.push(...(await runUntilMet(scenario, Number(options.attempts))));
  }
} finally {
  net.close();
}
console.log(`\n${files.length > 1 ? `${table(rows)}\n\n` : ""}curves and samples: ${out}`);
process.exit(rows.some((row) => row.verdict === "missed") ? 1 : 0);

/** runUntilMet runs a scenario until all its targets are met, attempts times at most: a busy machine spoils a run. */
async function runUntilMet(scenario, attempts) {
  for (let attempt = 1; ; attempt++) {
    const run = await runScenario(scenario);
    const measured = scenario.rows.map((row) => ({ ...row, ...measure(row, run) }));
    const name = attempt === 1 ? scenario.name : `${scenario.name}-${attempt}`;
    const curve = lines(run);
    await writeFile(join(out, `${name}.csv`), csv(curve));
    await writeFile(join(out, `${name}.svg`), svg(scenario, run, curve));
    await writeFile(join(out, `${name}.json`), JSON.stringify(run));
    console.log(`\n## ${scenario.name}: ${scenario.title}\n\n${describe(run)}\n\n${table(measured)}`);
    if (attempt >= attempts || measured.every((row) => row.verdict !== "missed")) return measured;
  }
}

/** runScenario returns { times, link, viewer, publisher, server, load }: when the steps were, and samples of everything. */
async function runScenario(scenario) {
  const everyLink = { rate_kbps: 0, queue_ms: 300, delay_ms: 20, jitter_ms: 0, loss: 0, burst_p: 0, burst_r: 0, down: false };
  for (const host of [publisherHost, viewerHost]) for (const link of ["up", "down"]) net.change(host, link, everyLink);
  const load = [loadavg()[0]];
  const server = await startSotto("--listen", `${net.server.address}:8080`, "--media-listen", `${net.server.address}:0`);
  const folder = await mkdtemp(join(tmpdir(), "sotto-starter-"));
  const browsers = [];
  const start = async (host, script) => {
    const starter = join(folder, `chromium-${host}`);
    await writeFile(starter, `#!/bin/sh\nexec ip netns exec ${net.hosts[host - 1].namespace} ${program("chromium")} "$@"\n`);
    await chmod(starter, 0o755);
    const browser = await launch("chromium", { starter, script, flags: [`--unsafely-treat-insecure-origin-as-secure=${server.page}`] });
    browsers.push(browser);
    return browser;
  };
  const counters = sampleCounters(server.metrics);
  try {
    const secret = newSecret();
    const publisher = await enter(await start(publisherHost, `(${texturedCamera})(); (${sampleStatistics})()`), server, secret, { w: 1280, h: 720, fps: 20, codecs: "vp8" });
    const viewerBrowser = await start(viewerHost, sampleStatistics);
    const asViewer = { w: 320, h: 180, fps: 5, codecs: "vp8" };
    // The page comes from the cache, so that it does not take the link from the picture.
    const visit = await enter(viewerBrowser, server, newSecret(), asViewer);
    await idleLink();
    await visit.close();
    for (const [link, set] of Object.entries(scenario.viewer)) net.change(viewerHost, link, set);
    const firstLink = net.samples.length;
    const viewer = await enter(viewerBrowser, server, secret, asViewer);
    await viewer.run((id) => window.__sotto.setWish(id, "camera", 720), publisher.connId);
    await publisher.run((id) => window.__sotto.setWish(id, "camera", 0), viewer.connId);
    const joined = await viewer.until(() => window.adaptationSamples[0]?.at, null, "the first sample");

    const times = { joined };
    for (const step of [...scenario.steps, { at_s: scenario.seconds, name: "end" }]) {
      await sleep(joined + step.at_s * 1000 - Date.now());
      times[step.name] = Date.now();
      for (const link of ["up", "down"]) if (step[link]) net.change(viewerHost, link, step[link]);
    }
    load.push(loadavg()[0]);
    if (net.errors.length > 0) throw new Error(`the network refused a change: ${net.errors[0]}`);
    const samplesOf = (page) => page.run(() => window.adaptationSamples);
    return {
      times, load,
      viewer: await samplesOf(viewer), publisher: await samplesOf(publisher), server: counters.stop(),
      link: net.samples.slice(firstLink).map((s) => ({ at: s.at, ...s.down[viewerHost - 1], up: s.up[publisherHost - 1].sent })),
    };
  } finally {
    counters.stop();
    for (const browser of browsers) await browser.close();
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

/** idleLink waits until little came down to the viewer for a second. */
async function idleLink() {
  const received = () => net.samples.at(-1).down[viewerHost - 1].delivered;
  for (let before = -Infinity; received() - before > 10_000; ) {
    before = received();
    await sleep(1000);
  }
}

/** sampleCounters reads the server's metrics every half second. */
function sampleCounters(url) {
  const wanted = ["layer_switches_total", "probe_bytes_total", "keyframe_requests_total", "rtx_packets_total", "rtx_refused_total"];
  const samples = [];
  const timer = setInterval(async () => {
    const at = Date.now();
    const text = await fetch(url).then((r) => r.text(), () => "");
    const value = (name) => Number(new RegExp(`^sotto_${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
    samples.push({ at, ...Object.fromEntries(wanted.map((name) => [name, value(name)])) });
  }, 500);
  return {
    stop() {
      clearInterval(timer);
      return samples;
    },
  };
}
