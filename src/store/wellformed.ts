/** Text as UTF-8 can hold it: a lone surrogate, which JSON may carry as `\ud800` and no database can, as those six visible characters. */
export function wellFormed(text: string): string {
  if (text.isWellFormed()) return text;
  return text.replace(/\p{Surrogate}/gu, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`);
}
