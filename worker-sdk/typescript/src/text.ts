/** PURE. Texts for people, within the limits of the protocol. */

/** Longest text for people on the wire, in bytes. */
export const MAX_TEXT_BYTES = 4096;
const MAX_TERM_BYTES = 256;

/** Cuts `text` to `limit` bytes of UTF-8, at a character. */
export function cut(text: string, limit: number): string {
  // A character of JavaScript has three bytes at most.
  if (text.length * 3 <= limit) return text;
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= limit) return text;
  let end = limit - 3;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `${bytes.toString("utf8", 0, end)}…`;
}

/** A text as errors, reasons and notes carry it. */
export const short = (text: string): string => cut(text, MAX_TEXT_BYTES);

/** The reason that follows `+TERM`. */
export function termReason(text: string): string {
  // eslint-disable-next-line no-control-regex
  return cut(text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, " "), MAX_TERM_BYTES);
}

/** An error in one line: what it is, and what caused it. */
export function explain(error: unknown): string {
  const parts: string[] = [];
  let at: unknown = error;
  for (let depth = 0; depth < 8 && at !== undefined && at !== null; depth += 1) {
    const text = at instanceof Error ? words(at) : String(at);
    if (text !== "" && !parts.some((part) => part.includes(text))) parts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(": ") || "an error without a text";
}

function words(error: Error): string {
  const named = error.name !== "Error" && !PLAIN_NAMES.has(error.name);
  return named ? `${error.name}: ${error.message}` : error.message || error.name;
}

/** Names that say no more than the text does. */
const PLAIN_NAMES = new Set(["RetryableError", "PermanentError", "EnvironmentError"]);
