/** JSON as Convex's backend writes it: it has no integers, and clients must not count on any. */

export function writeJson(value: unknown): string {
  if (typeof value === "number" && Number.isInteger(value)) return value.toFixed(1);
  if (Array.isArray(value)) return `[${value.map(writeJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${writeJson(field)}`).join(",")}}`;
}
