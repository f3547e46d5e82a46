import { readdirSync } from 'node:fs';
import type { Fault } from './fault.ts';

/** What the files of a folder export by default, in the order of their names. */
export async function defaultsIn<T>(folder: URL): Promise<T[]> {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .sort();
  return Promise.all(
    files.map(async (name) => ((await import(new URL(name, folder).href)) as { default: T }).default),
  );
}

/** Every fault in faults/, in the order of their names. */
export async function allFaults(): Promise<Fault[]> {
  return defaultsIn<Fault>(new URL('faults/', import.meta.url));
}
