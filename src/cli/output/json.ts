/** Reports as JSON, and as JSON lines. */
import type { Answer } from '../../run/report.ts';
import { headLine } from '../../store/completeness-words.ts';

/** What JSON leaves as it is and a terminal or an editor would act on: DEL, C1, separators, bidirectional and other format characters. */
const UNSAFE = /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu;

/** JSON text that is safe to print: the same value, with what could act written as `\u202e`. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value).replace(UNSAFE, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** One object: what was asked, how complete the answer is, and the rows, each on a line of its own. */
export async function* json({
  report,
  scope,
  generated,
  completeness,
  rows,
}: Answer): AsyncGenerator<string> {
  const told = await completeness();
  const head = {
    report: report.name,
    since: scope.since.toISOString(),
    until: scope.until.toISOString(),
    generated: generated.toISOString(),
    summary: headLine(told),
    completeness: told.counts,
  };
  yield `${safeJson(head).slice(0, -1)},"rows":[`;
  let before = '\n';
  for await (const row of rows) {
    yield `${before}${safeJson(row)}`;
    before = ',\n';
  }
  yield before === '\n' ? ']}\n' : '\n]}\n';
}

/** Each row as one line; no head. */
export async function* ndjson({ rows }: Answer): AsyncGenerator<string> {
  for await (const row of rows) yield `${safeJson(row)}\n`;
}
