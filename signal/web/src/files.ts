// Sealed files on the service: it keeps them for a while and knows their size.

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
  if (!response.ok) throw new RequestError("upload_failed");
  return place.path;
}

/** download fetches a sealed file. The path comes from another participant: it may lead nowhere else. */
export async function download(path: string): Promise<Blob> {
  if (!blobPath.test(path)) throw new RequestError("bad_path");
  const response = await fetch(path, { credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" });
  if (!response.ok) throw new RequestError("download_failed");
  return response.blob();
}
