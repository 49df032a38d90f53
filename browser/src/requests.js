// Requests to the archive: their canonical form, and the only answer that may be sent to a challenge.
import { armor } from "age-encryption";
import { decodeText, hashText } from "./bytes.js";
import { canonical } from "./fields.js";

const LONGEST_CHALLENGE = 4096;
const LONGEST_PLAINTEXT = 512;

/** A challenge that is not for the request: nothing was sent. */
export class HostileArchive extends Error {}

/** A challenge that none of the owner's keys decrypts. */
export class WrongKey extends Error {}

export const requestText = (request) => canonical(request);

/** SHA-256 of a request, which its challenge and its receipt repeat. */
export const requestHash = (request) => hashText(requestText(request));

/**
 * Decrypt a challenge and return the line that proves the request.
 * Otherwise a hostile server could send a clip as a challenge and receive its sound.
 */
export async function answerChallenge(challenge, owner, request, identities) {
  if (typeof challenge !== "string" || challenge.length > LONGEST_CHALLENGE) throw new HostileArchive();
  let sealed, line;
  try {
    sealed = armor.decode(challenge.trim());
  } catch {
    throw new HostileArchive();
  }
  for (const identity of identities) {
    try {
      line = await identity.decrypt(sealed);
      break;
    } catch {
      continue;
    }
  }
  if (line === undefined) throw new WrongKey();
  const expected = new RegExp(`^${owner}:${request.op}:${requestHash(request).slice(0, 16)}:[a-z2-7]{26}\\n?$`);
  let text = "";
  try {
    if (line.length <= LONGEST_PLAINTEXT) text = decodeText(line);
  } catch {
    throw new HostileArchive();
  }
  if (!expected.test(text)) throw new HostileArchive();
  return text.trim();
}
