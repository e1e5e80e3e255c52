/** PURE. Any text as one token of a subject, see "The key codec" in PROTOCOL.md. */

const PLAIN = /^[A-Za-z0-9_-]+$/;
const ESCAPED = /=[0-9A-F]{2}/g;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Makes a token of `text`. */
export function encodeToken(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text === "") return "=";
  let token = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const char = String.fromCharCode(byte);
    token += PLAIN.test(char) ? char : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return token;
}

/** Reads a token; throws where it is not the one spelling that its text has. */
export function decodeToken(token: string): string {
  if (PLAIN.test(token)) return token;
  if (token === "=") return "";
  const octets = token.replaceAll(ESCAPED, (found) => String.fromCharCode(Number.parseInt(found.slice(1), 16)));
  try {
    const text = strict.decode(Buffer.from(octets, "latin1"));
    if (encodeToken(text) === token) return text;
  } catch {
    // Not UTF-8: refused below, like every other spelling.
  }
  throw new Error(`\`${token}\` is not an encoded token`);
}
