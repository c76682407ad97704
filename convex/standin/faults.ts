/** What is made to go wrong. */

export type Fault = { times?: number } & (
  | { kind: "refuse" }
  | { kind: "hang" }
  | { kind: "status"; status: number }
  | { kind: "delay"; ms: number }
  | { kind: "drop-after-commit" }
);

/** One fault at a time, for as many requests as it says, or until it is taken away. */
export class Faults {
  private fault: Fault | null = null;
  private left = Infinity;

  set(fault: Fault | null): void {
    this.fault = fault;
    this.left = fault?.times ?? Infinity;
  }

  /** The fault that a request meets, of those kinds that can happen where it is asked. */
  take<Kind extends Fault["kind"]>(...kinds: Kind[]): Extract<Fault, { kind: Kind }> | null {
    if (this.left <= 0 || !kinds.some((kind) => kind === this.fault?.kind)) return null;
    this.left -= 1;
    return this.fault as Extract<Fault, { kind: Kind }>;
  }
}
