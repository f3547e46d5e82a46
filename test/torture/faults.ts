import { readdirSync } from 'node:fs';
import type { Fault } from './fault.ts';

/** Every fault in faults/, in the order of their names. */
export async function allFaults(): Promise<Fault[]> {
  const folder = new URL('faults/', import.meta.url);
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .sort();
  return Promise.all(
    files.map(async (name) => ((await import(new URL(name, folder).href)) as { default: Fault }).default),
  );
}
