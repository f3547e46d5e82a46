/** What a database keeps of itself in memory: that grows with it up to a bound, whatever a backlog does. */
import { statSync } from 'node:fs';
import { CACHE_KIB } from '../../src/store/sqlite.ts';

/** What the pages of the store in this file take in memory, in bytes: as much as there are, up to the cache's size. */
export function pageCacheOf(store: string): number {
  return Math.min(CACHE_KIB * 1024, statSync(store).size);
}
