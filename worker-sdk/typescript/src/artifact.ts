/** PURE. What a plugin makes of a file and what is no metadata, such as a picture or a text. */
import { createHash } from "node:crypto";

import { PermanentError } from "./outcome.js";
import { cut } from "./text.js";

/** What the metadata says of an artefact; a value for a key of the type `json`. */
export type Artifact = {
  /** Its name. */
  readonly artifact: string;
  readonly mediaType: string;
  readonly size: number;
  /** Of its bytes, in lower-case hexadecimal. */
  readonly sha256: string;
};

const MAX_NAME_BYTES = 128;
/** Most of what was given that an error repeats. */
const SHOWN_BYTES = 200;
// eslint-disable-next-line no-control-regex
const NEVER_IN_NAMES = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;
const MEDIA_TYPE = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+\/[A-Za-z0-9!#$%&'*+.^_`|~-]+(?: *;(?:[ -~]*[!-~])?)?$/;
const LONGEST_MEDIA_TYPE = 255;

/** What the metadata says of these bytes; throws where no artefact may have that name or media type. */
export function describe(name: string, mediaType: string, bytes: Uint8Array): Artifact {
  if (!isArtifactName(name)) {
    throw new PermanentError(`an artefact cannot be called \`${cut(name, SHOWN_BYTES)}\`: 1 to 128 bytes without control characters`);
  }
  if (!isMediaType(mediaType)) {
    const shown = `\`${cut(mediaType, SHOWN_BYTES)}\` is no media type of the artefact \`${name}\``;
    throw new PermanentError(`${shown}: it is like \`image/jpeg\`, with at most ${LONGEST_MEDIA_TYPE} characters of ASCII`);
  }
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { artifact: name, mediaType, size: bytes.length, sha256 };
}

/** Whether an artefact may be of that media type. */
export function isMediaType(text: string): boolean {
  return text.length <= LONGEST_MEDIA_TYPE && MEDIA_TYPE.test(text);
}

/** Whether an artefact may be called so. */
export function isArtifactName(name: string): boolean {
  return name !== "" && Buffer.byteLength(name) <= MAX_NAME_BYTES && !NEVER_IN_NAMES.test(name);
}
