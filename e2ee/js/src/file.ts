// Files: AES-256-GCM in chunks, and SHA-256 over the ciphertext (package file,
// Go). Larger ones than the service takes would not fit WebCrypto's one-shot
// hash either.

import type { Bytes } from "./encoding.ts";

export const chunkSize = 64 << 10;
const tagSize = 16;

/** What opens a file; it stays in the worker. */
export interface FileKey {
  key: Bytes;
  /** SHA-256 of the ciphertext. */
  hash: Bytes;
  size: number;
}

/** sealedSize is how long the ciphertext of a file of that size is. */
export function sealedSize(size: number): number {
  return size + Math.max(1, Math.ceil(size / chunkSize)) * tagSize;
}

export type Progress = (done: number, total: number) => void;

/** Encrypts under a fresh key. */
export async function sealFile(file: Blob, progress: Progress): Promise<{ sealed: Blob; fileKey: FileKey }> {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const aes = await importKey(key, "encrypt");
  const chunks = Math.max(1, Math.ceil(file.size / chunkSize));
  const sealed = new Uint8Array(sealedSize(file.size));
  for (let i = 0; i < chunks; i++) {
    const from = i * chunkSize;
    const plain = await file.slice(from, from + chunkSize).arrayBuffer();
    const chunk = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce(i, i === chunks - 1) }, aes, plain);
    sealed.set(new Uint8Array(chunk), from + i * tagSize);
    progress(from + plain.byteLength, file.size);
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", sealed));
  return { sealed: new Blob([sealed]), fileKey: { key, hash, size: file.size } };
}

/** Decrypts; null if it is not the file that its sender meant, whole. */
export async function openFile(file: Blob, { key, hash, size }: FileKey, progress: Progress): Promise<Blob | null> {
  const chunks = Math.max(1, Math.ceil(size / chunkSize));
  if (file.size !== sealedSize(size)) return null;
  const sealed = new Uint8Array(await file.arrayBuffer());
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", sealed));
  if (!found.every((b, i) => b === hash[i])) return null;
  const aes = await importKey(key, "decrypt");
  const parts: ArrayBuffer[] = [];
  for (let i = 0; i < chunks; i++) {
    const from = i * (chunkSize + tagSize);
    const chunk = sealed.subarray(from, from + chunkSize + tagSize);
    try {
      parts.push(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce(i, i === chunks - 1) }, aes, chunk));
    } catch {
      return null;
    }
    progress(Math.min(size, (i + 1) * chunkSize), size);
  }
  return new Blob(parts, { type: "application/octet-stream" });
}

function importKey(key: Bytes, usage: "encrypt" | "decrypt"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
}

/** 7 zero bytes || u32 index || u8 last. */
function nonce(index: number, last: boolean): Bytes {
  const n = new Uint8Array(12);
  new DataView(n.buffer).setUint32(7, index);
  n[11] = last ? 1 : 0;
  return n;
}
