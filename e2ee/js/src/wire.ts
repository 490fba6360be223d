// Numbers and byte strings behind one another, big-endian.

import { utf8, type Bytes } from "./encoding.ts";

export class Writer {
  private buffer = new Uint8Array(256);
  private length = 0;

  constructor(kind: number) {
    this.u8(kind);
  }

  u8(v: number): this {
    const at = this.grow(1);
    this.buffer[at] = v;
    return this;
  }

  flag(v: boolean): this {
    return this.u8(v ? 1 : 0);
  }

  u16(v: number): this {
    this.view(2).setUint16(0, v);
    return this;
  }

  u32(v: number): this {
    this.view(4).setUint32(0, v);
    return this;
  }

  /** A safe integer. */
  u64(v: number): this {
    if (!Number.isSafeInteger(v) || v < 0) throw new RangeError("u64");
    return this.u32(Math.floor(v / 2 ** 32)).u32(v >>> 0);
  }

  f64(v: number): this {
    this.view(8).setFloat64(0, v);
    return this;
  }

  raw(...parts: Uint8Array[]): this {
    for (const p of parts) {
      const at = this.grow(p.length);
      this.buffer.set(p, at);
    }
    return this;
  }

  text(v: string): this {
    return this.raw(utf8(v));
  }

  bytes(): Bytes {
    return this.buffer.subarray(0, this.length);
  }

  private view(n: number): DataView {
    const at = this.grow(n);
    return new DataView(this.buffer.buffer, at, n);
  }

  /** Makes room for n more bytes, perhaps in another buffer, and returns where they begin. */
  private grow(n: number): number {
    const at = this.length;
    this.length += n;
    if (this.length > this.buffer.length) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.buffer.length));
      larger.set(this.buffer.subarray(0, at));
      this.buffer.fill(0);
      this.buffer = larger;
    }
    return at;
  }
}

/** Throws RangeError beyond the end. Byte strings are copies. */
export class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly b: Uint8Array) {
    this.view = new DataView(b.buffer, b.byteOffset, b.length);
  }

  take(n: number): Bytes {
    if (this.b.length - this.at < n) throw new RangeError("result");
    this.at += n;
    return this.b.slice(this.at - n, this.at) as Bytes;
  }

  u8(): number {
    return this.view.getUint8(this.at++);
  }

  flag(): boolean {
    return this.u8() !== 0;
  }

  u16(): number {
    this.at += 2;
    return this.view.getUint16(this.at - 2);
  }

  u32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4);
  }

  /** A number beyond 2^53 is none that is used here. */
  u64(): number {
    const v = this.u32() * 2 ** 32 + this.u32();
    if (!Number.isSafeInteger(v)) throw new RangeError("u64");
    return v;
  }

  f64(): number {
    this.at += 8;
    return this.view.getFloat64(this.at - 8);
  }

  /** Bytes behind their length, u32. */
  data(): Bytes {
    return this.take(this.u32());
  }

  /** UTF-8 behind its length, u8. */
  text(): string {
    return new TextDecoder().decode(this.take(this.u8()));
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.u16() }, read);
  }
}
