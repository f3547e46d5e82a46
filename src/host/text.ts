const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Length of the valid UTF-8 sequence at `at`, or 0 when the byte there starts none (RFC 3629 table). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  const length =
    lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  try {
    utf8.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

/**
 * Bytes from a source as text that JSON can hold: UTF-8, each byte that is not UTF-8 as `\xHH`, so that no two
 * inputs that differ only in bad bytes look alike. Control characters stay; output escapes them.
 */
export function text(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    let out = '';
    for (let at = 0; at < bytes.length; ) {
      const length = sequenceLength(bytes, at);
      out +=
        length > 0
          ? utf8.decode(bytes.subarray(at, at + length))
          : `\\x${bytes[at]!.toString(16).padStart(2, '0')}`;
      at += Math.max(1, length);
    }
    return out;
  }
}

/** Text made safe for an item key: control characters as `\xHH`, cut to what the format allows with a mark. */
export function keyText(value: string): string {
  const clean = value.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return clean.length <= 512 ? clean : `${clean.slice(0, 511)}…`;
}
