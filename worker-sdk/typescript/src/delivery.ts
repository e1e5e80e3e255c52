/** PURE. What the reply subject of a delivery says, and what one can answer, see sections 7 and 8. */
import { termReason } from "./text.js";

/** Where a delivery stands. */
export interface Place {
  readonly delivered: number;
  readonly sequence: number;
  /** When the message was stored; with the sequence it names one message, also after the stream was made anew. */
  readonly storedAt: string;
  readonly pending: number;
}

/** Reads a reply subject of either form; nothing where it is not one. */
export function parsePlace(reply: string): Place | undefined {
  const parts = reply.split(".");
  if (parts[0] !== "$JS" || parts[1] !== "ACK") return undefined;
  const from = parts.length === 9 ? 4 : parts.length >= 11 ? 6 : undefined;
  if (from === undefined) return undefined;
  const delivered = Number(parts[from]);
  const sequence = Number(parts[from + 1]);
  const pending = Number(parts[from + 4]);
  if (![delivered, sequence, pending].every(Number.isSafeInteger)) return undefined;
  return { delivered, sequence, storedAt: parts[from + 3] ?? "", pending };
}

/** What the broker can be told about a delivery. */
export const ack = "+ACK";
export const progress = "+WPI";
export const nak = (delayMs: number): string => `-NAK {"delay": ${Math.round(delayMs * 1_000_000)}}`;
export const term = (reason: string): string => `+TERM ${termReason(reason)}`;
