/** Status lists (draft-ietf-oauth-status-list): the bit of each license is set to revoke it. */

import { asNumber, asObject, asText, asTime, ifPresent } from "./claims.js";
import { type KeySet, isInTime, openWith } from "./keys.js";
import { Jws, LIST, orNullIfRejected } from "./jws.js";
import { type Bytes, decodeBase64url } from "./text.js";

/** The largest list: 2^20 bits. */
const MAX_LIST_BYTES = 2 ** 20 / 8;

export class StatusList {
  constructor(readonly text: string, readonly iat: number, private readonly bits: Bytes) {}

  has(idx: number): boolean {
    return idx < this.bits.length * 8;
  }

  isRevoked(idx: number): boolean {
    return ((this.bits[Math.floor(idx / 8)] ?? 0) >> (idx % 8)) % 2 === 1;
  }
}

/** Returns the list; null if it is not the one at this URI, or not signed by a key of the set. */
export async function openList(
  text: string, keys: KeySet, reference: { idx: number; uri: string },
): Promise<StatusList | null> {
  return orNullIfRejected(async () => {
    const { claims, key } = await openWith(Jws.parse(text, LIST), keys);
    const iat = asTime(claims.get("iat"));
    ifPresent(claims.get("exp"), asTime);
    ifPresent(claims.get("ttl"), asNumber);
    if (claims.get("sub") !== reference.uri || !isInTime(key, iat)) return null;
    const members = asObject(claims.get("status_list"));
    const compressed = decodeBase64url(asText(members.get("lst")));
    if (members.get("bits") !== 1 || compressed === null) return null;
    const bits = await inflate(compressed);
    const list = bits && new StatusList(text, iat, bits);
    return list?.has(reference.idx) ? list : null;
  });
}

/** Returns the bits; null if this is not one complete zlib stream, or if it is too large. */
async function inflate(compressed: Bytes): Promise<Bytes | null> {
  const bits = await inflateStart(compressed);
  if (bits === null) return null;
  // Node 20 ignores what follows the end. A stream that is complete without its last byte has such.
  const isComplete = await inflateStart(compressed.subarray(0, -1)) !== null;
  return isComplete ? null : bits;
}

async function inflateStart(compressed: Bytes): Promise<Bytes | null> {
  try {
    const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return await readAtMost(stream, MAX_LIST_BYTES);
  } catch {
    return null;
  }
}

/** Returns the bytes of the stream; null, and stops reading, when there are more than `max`. */
export async function readAtMost(
  stream: ReadableStream<Uint8Array>, max: number,
): Promise<Bytes | null> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > max) {
      await reader.cancel();
      return null;
    }
    chunks.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
