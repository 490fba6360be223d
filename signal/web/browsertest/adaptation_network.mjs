// The emulated network that cmd/impair gives to the process it starts: file descriptor 3, one JSON value a line.

import { Socket } from "node:net";
import { createInterface } from "node:readline";

/** network takes the network over; samples fills with what the links do, every 100 ms. */
export async function network() {
  const socket = new Socket({ fd: 3 });
  const samples = [];
  const errors = [];
  const first = await new Promise((resolve, reject) => {
    socket.on("error", reject);
    createInterface({ input: socket }).on("line", (line) => {
      const value = JSON.parse(line);
      if (value.server) return resolve(value);
      if (value.error) errors.push(value.error);
      samples.push(value);
    });
  });
  return {
    ...first, samples, errors,
    /** change sets a part of what a link is like. */
    change(host, link, set) { socket.write(`${JSON.stringify({ host, link, set })}\n`); },
    close() { socket.destroy(); },
  };
}
