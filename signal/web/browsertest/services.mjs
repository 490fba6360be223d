// Signaling and media nodes as processes of their own, so that a test can end one of them.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deadlineMs } from "./browsers.mjs";

const binary = process.env.SOTTO_BINARY ?? new URL("../../../bin/sotto-testhooks", import.meta.url).pathname;

/** run starts the binary; printed(word) waits for a line "  word   value" of its output. */
function run(...args) {
  const env = { ...process.env, SOTTO_DRAIN_SECONDS: "0" }; // the calls of a test that stops are over
  const child = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  let out = "", err = "";
  child.stdout.on("data", (d) => { out += d; });
  child.stderr.on("data", (d) => { err += d; });
  return {
    async printed(word) {
      const end = Date.now() + deadlineMs;
      for (;;) {
        const found = new RegExp(`^  ${word} +(\\S+)`, "m").exec(out);
        if (found) return found[1];
        if (child.exitCode !== null || Date.now() > end) throw new Error(`${args[0]} printed no ${word}:\n${out}${err}`);
        await new Promise((r) => setTimeout(r, 20));
      }
    },
    async end(signal) {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}

/** startServices starts signaling and one media node, which gets the flags. */
export async function startServices(...flags) {
  const folder = await mkdtemp(join(tmpdir(), "sotto-services-"));
  const secret = join(folder, "secret");
  await writeFile(secret, randomBytes(32).toString("base64url"), { mode: 0o600 });
  let listen = "127.0.0.1:0", cluster = "127.0.0.1:0", signal;
  const startSignal = async () => {
    signal = run("signal", "--cluster-secret-file", secret, "--open-rooms", "--listen", listen, "--cluster-listen", cluster, "--metrics-listen", "127.0.0.1:0");
    listen = new URL(await signal.printed("page")).host;
    cluster = await signal.printed("cluster");
  };
  await startSignal();
  const nodes = [];
  const startNode = (...flags) => {
    // Firefox does not reach media on a loopback address.
    const node = run("sfu", "--cluster-secret-file", secret, "--cluster-url", cluster, "--media-listen", ":0", "--metrics-listen", "127.0.0.1:0", ...flags);
    nodes.push(node);
    return node;
  };
  const node = startNode(...flags);
  const page = `http://${listen}`;
  const end = Date.now() + deadlineMs;
  while (!(await fetch(`${page}/readyz`).catch(() => null))?.ok) {
    if (Date.now() > end) throw new Error("signaling is not ready");
    await new Promise((r) => setTimeout(r, 50));
  }
  return {
    page,
    node,
    startNode,
    /** says waits until the metrics of signaling have this line. */
    async says(line) {
      const metrics = await signal.printed("metrics");
      for (const end = Date.now() + deadlineMs; ;) {
        if ((await (await fetch(metrics)).text()).split("\n").includes(line)) return;
        if (Date.now() > end) throw new Error(`the metrics do not say ${line}`);
        await new Promise((r) => setTimeout(r, 50));
      }
    },
    killSignal: () => signal.end("SIGKILL"),
    startSignal,
    async stop() {
      await signal.end("SIGTERM");
      for (const node of nodes) await node.end("SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
