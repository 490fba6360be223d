// Starts `sotto dev` as a process of its own and tells where its page is.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { deadlineMs } from "./browsers.mjs";

// The binary under test carries the test hooks; `task browser` builds it.
const binary = process.env.SOTTO_BINARY ?? new URL("../../../bin/sotto-testhooks", import.meta.url).pathname;

export async function startSotto(...flags) {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run \`go tool task browser\``);
  const child = spawn(binary, ["dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stderr.on("data", (d) => { err += d; });
  const exited = once(child, "exit");
  const urls = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`sotto dev printed no URL in time:\n${out}${err}`)), deadlineMs);
    child.stdout.on("data", (d) => {
      out += d;
      const page = /(http:\/\/[\d.]+:\d+)\/?\s/.exec(out);
      const metrics = /(http:\/\/[\d.]+:\d+\/metrics)\s/.exec(out);
      if (page && metrics) {
        clearTimeout(timer);
        resolve({ page: page[1], metrics: metrics[1] });
      }
    });
    exited.then(([code]) => {
      clearTimeout(timer);
      reject(new Error(`sotto dev ended with ${code}:\n${out}${err}`));
    });
  });
  return {
    ...urls,
    pid: child.pid,
    log: () => err,
    async stop() {
      child.kill("SIGTERM");
      const [code] = await exited;
      return code;
    },
  };
}
