/** A file of what was acknowledged, from which the stand-in starts again after it was killed. */

import { appendFileSync, existsSync, fdatasyncSync, ftruncateSync, openSync, readFileSync } from "node:fs";

export interface Entry {
  /** What the clock said, in milliseconds since the epoch. */
  at: number;
  path: string;
  args: Record<string, unknown>;
}

export class Journal {
  private constructor(private readonly file: number) {}

  /** Opens a file, and reads what is in it. A last line that was cut off was never acknowledged, and goes. */
  static open(path: string): { journal: Journal; entries: Entry[] } {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const file = openSync(path, "a");
    ftruncateSync(file, Buffer.byteLength(whole));
    const entries = whole
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Entry);
    return { journal: new Journal(file), entries };
  }

  /** Returns once the entry is on the disk. */
  append(entry: Entry): void {
    appendFileSync(this.file, `${JSON.stringify(entry)}\n`);
    fdatasyncSync(this.file);
  }

  clear(): void {
    ftruncateSync(this.file);
    fdatasyncSync(this.file);
  }
}
