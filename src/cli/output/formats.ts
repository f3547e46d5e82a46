/** The formats of a report by name; what each needs is loaded when it is asked for. */
import type { Format } from '../../run/report.ts';

export const FORMATS = ['table', 'json', 'ndjson', 'csv'] as const;

export type FormatName = (typeof FORMATS)[number];

/** The format of that name. `width`: columns of the terminal that the text goes to, undefined when it goes elsewhere. */
export async function formatNamed(name: FormatName, width: number | undefined): Promise<Format> {
  if (name === 'table') return (await import('./table.ts')).table(width);
  if (name === 'csv') return (await import('./csv.ts')).csv;
  const { json, ndjson } = await import('./json.ts');
  return name === 'json' ? json : ndjson;
}
