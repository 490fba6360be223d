// A native participant, `sotto join`, as a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { deadlineMs } from "./browsers.mjs";

const binary = process.env.SOTTO_BINARY ?? new URL("../../../bin/sotto-testhooks", import.meta.url).pathname;

export class Native {
  connId = "";
  membership = null;
  stats = null;
  events = [];

  constructor(link, name, ...flags) {
    this.name = name;
    this.child = spawn(binary, ["join", "--name", name, ...flags, "-"], { stdio: ["pipe", "pipe", "pipe"] });
    this.exited = once(this.child, "exit");
    this.errors = "";
    this.child.stderr.on("data", (d) => { this.errors += d; });
    this.child.stdin.on("error", () => {}); // it has ended; exited tells
    createInterface({ input: this.child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    this.#write(link); // not as an argument: other users of a machine see those
  }

  #hear(event) {
    if (event.event === "membership") {
      this.membership = event;
      this.connId = event.self;
    } else if (event.event === "stats") {
      this.stats = event;
    } else {
      this.events.push(event);
    }
  }

  #write(line) {
    this.child.stdin.write(`${line}\n`);
  }

  tell(command) {
    this.#write(command);
  }

  /** until waits until what() is true. */
  async until(what, why, ms = deadlineMs) {
    const end = Date.now() + ms;
    while (Date.now() < end) {
      const value = what(this);
      if (value) return value;
      if (this.child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${this.name}: no ${why}: ${JSON.stringify({ membership: this.membership, stats: this.stats, errors: this.errors })}`);
  }

  /** opened counts the frames of a source of somebody else that it has opened. */
  opened(connId, source) {
    return this.stats?.tracks.find((t) => t.conn_id === connId && t.source === source)?.opened ?? 0;
  }

  async leave() {
    this.tell("leave");
    const [code] = await this.exited;
    return code;
  }

  /** end is for afterwards, however it stands. */
  async end() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGKILL");
    await this.exited;
  }
}
