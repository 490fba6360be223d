// Signaling and one media node as processes of their own, so that a test can end one of them.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
      const end = Date.now() + 15_000;
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

export async function startServices() {
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
  // Firefox does not reach media on a loopback address.
  const sfu = run("sfu", "--cluster-secret-file", secret, "--cluster-url", cluster, "--media-listen", ":0", "--metrics-listen", "127.0.0.1:0");
  const page = `http://${listen}`;
  const end = Date.now() + 15_000;
  while (!(await fetch(`${page}/readyz`).catch(() => null))?.ok) {
    if (Date.now() > end) throw new Error("signaling is not ready");
    await new Promise((r) => setTimeout(r, 50));
  }
  return {
    page,
    killSignal: () => signal.end("SIGKILL"),
    startSignal,
    async stop() {
      await signal.end("SIGTERM");
      await sfu.end("SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
