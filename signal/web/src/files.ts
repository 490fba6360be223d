// Sealed files on the service: it keeps them for a while and knows their size.

import { sealedSize } from "../../../e2ee/js/src/file.ts";
import { RequestError } from "./signaling.ts";
import { blobPath, type ServerMessage } from "./protocol.ts";

/** upload asks the service for a place and puts the file there; it gives the path. */
export async function upload(file: Blob, ask: (size: number) => Promise<ServerMessage>): Promise<string> {
  const place = await ask(file.size);
  if (place.type !== "upload") throw new RequestError("internal");
  const response = await fetch(place.path, {
    method: "PUT", body: file, headers: { authorization: `Bearer ${place.token}` },
    credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
  });
  if (!response.ok) throw refused(response);
  return place.path;
}

/**
 * download fetches a sealed file of that size. Path and size come from another
 * participant: the path may lead nowhere else, and what is longer is not read.
 */
export async function download(path: string, size: number): Promise<Blob> {
  if (!blobPath.test(path)) throw new RequestError("bad_path");
  const response = await fetch(path, { credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" });
  if (!response.ok || !response.body) throw refused(response);
  const parts: BlobPart[] = [];
  let room = sealedSize(size);
  const reader = response.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    room -= next.value.byteLength;
    if (room < 0) {
      void reader.cancel();
      throw new RequestError("damaged");
    }
    parts.push(next.value);
  }
  return new Blob(parts);
}

function refused({ status }: Response): RequestError {
  return new RequestError(status === 404 ? "file_gone" : status === 429 || status === 503 ? "files_busy" : "file_refused");
}
