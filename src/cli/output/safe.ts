/**
 * What could act on a terminal or mislead a reader: control characters (C0, DEL, C1), line and paragraph separators, bidirectional
 * overrides and isolates (Trojan Source, CVE-2021-42574), other invisible format characters, lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** A character that must not be printed, as `\x1b` or `\u202e`. */
function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Text from outside made safe to print: what could act is shown as an escape. `newlines` keeps LF and TAB as they are. */
export function safe(text: string, { newlines = false } = {}): string {
  return text.replace(UNSAFE, (character) =>
    newlines && (character === '\n' || character === '\t') ? character : escaped(character),
  );
}
