// The files of a meeting: their keys, which the page never sees, and what is
// being sealed or opened.

import { maxFile } from "./app.ts";
import { openFile, sealFile, type FileKey } from "./file.ts";
import type { FileError, FromWorker } from "./messages.ts";

/** Files of which keys are kept; the oldest go first. */
const maxKept = 1000;

export class Files {
  private readonly own = new Map<string, FileKey>(); // by id, until sent
  private readonly received = new Map<string, FileKey>(); // by sender and id

  constructor(private readonly post: (m: FromWorker) => void) {}

  /** The key of a file of one's own that was sealed. */
  sealed(id: string): FileKey | null {
    return this.own.get(id) ?? null;
  }

  /** A member has shared a file. The first of an id stays. */
  receive(connId: string, id: string, key: FileKey): void {
    const name = `${connId} ${id}`;
    if (!this.received.has(name)) keep(this.received, name, key);
  }

  async seal(id: string, file: Blob): Promise<void> {
    if (file.size > maxFile) return this.fail(id, "too_large");
    try {
      const { sealed, fileKey } = await sealFile(file, this.progress(id));
      keep(this.own, id, fileKey);
      this.post({ type: "file_sealed", id, file: sealed });
    } catch {
      this.fail(id, "unreadable"); // moved or changed on the disk since it was chosen
    }
  }

  async open(connId: string, id: string, file: Blob): Promise<void> {
    const key = this.received.get(`${connId} ${id}`);
    if (!key) return this.fail(id, "unknown_file");
    const plain = await openFile(file, key, this.progress(id)).catch(() => null);
    if (!plain) return this.fail(id, "damaged");
    this.post({ type: "file_opened", connId, id, file: plain });
  }

  /** Tells the page at steps of a hundredth. */
  private progress(id: string) {
    let told = 0;
    return (done: number, total: number): void => {
      if (done < total && done - told < total / 100) return;
      told = done;
      this.post({ type: "file_progress", id, done, total });
    };
  }

  private fail(id: string, why: FileError): void {
    this.post({ type: "file_failed", id, why });
  }
}

function keep(map: Map<string, FileKey>, name: string, key: FileKey): void {
  const [oldest] = map.keys();
  if (map.size >= maxKept && oldest !== undefined) map.delete(oldest);
  map.set(name, key);
}
