/** Tells what comes again, which changes nothing, from what comes in another's place: a fork, which is kept beside it. */
import type { Insertable, Kysely } from 'kysely';
import type { StreamKey } from '../spool/batch.ts';
import type { DialectName } from './ddl.ts';
import type { Loadable } from './loadable.ts';
import { inPieces, upsertRows } from './rows.ts';
import type { Tables } from './tables.ts';
import { toStored } from './times.ts';

type Key = StreamKey & { readonly seq: number };
export type Fork = Insertable<Tables['forks']>;

/** A batch that is in the store already, or comes with the same load: enough to tell a duplicate from a fork. */
interface Known {
  readonly sha256: string;
  readonly prev: string | null;
  readonly time: string;
}

/** A batch's place, for a Map. */
export const keyOf = ({ node, agent, epoch, seq }: Key): string => `${node} ${agent} ${epoch} ${seq}`;

/** The place `step` batches behind one in its stream; before it where that is negative. */
export function beside(key: Key, step: number): Key {
  return { node: key.node, agent: key.agent, epoch: key.epoch, seq: key.seq + step };
}

/** The batches of these keys, and those right before and behind them, that are in the store. */
export async function findKnown(db: Kysely<Tables>, keys: readonly Key[]): Promise<Map<string, Known>> {
  const known = new Map<string, Known>();
  for (const piece of inPieces(db, keys)) {
    const rows = await db
      .selectFrom('batches')
      .select(['node', 'agent', 'epoch', 'seq', 'sha256', 'prev', 'time'])
      .where((eb) =>
        eb.or(
          piece.map(({ node, agent, epoch, seq }) =>
            eb.and([
              eb('node', '=', node),
              eb('agent', '=', agent),
              eb('epoch', '=', epoch),
              eb('seq', '>=', seq - 1),
              eb('seq', '<=', seq + 1),
            ]),
          ),
        ),
      )
      .execute();
    for (const row of rows) known.set(keyOf(row), row);
  }
  return known;
}

/** The batches that are not here yet; adds them to `known`, and to `forks` those whose key another batch has. */
export function sortOut(
  batches: readonly Loadable[],
  known: Map<string, Known>,
  forks: Fork[],
  now: string,
): Loadable[] {
  const fresh: Loadable[] = [];
  for (const batch of batches) {
    const { header, sha256 } = batch;
    const time = toStored(header.time);
    const here = known.get(keyOf(header));
    if (!here) {
      known.set(keyOf(header), { sha256, prev: header.prev, time });
      fresh.push(batch);
    } else if (here.sha256 !== sha256) {
      forks.push({ ...beside(header, 0), sha256, reason: 'twin', uuid: header.id, time, loaded: now });
    }
  }
  return fresh;
}

/** A fork where a batch was built on another predecessor than the one that is here. */
export function brokenChains(
  fresh: readonly Loadable[],
  known: ReadonlyMap<string, Known>,
  now: string,
): Fork[] {
  const forks = new Map<string, Fork>();
  for (const { header } of fresh) {
    for (const key of [beside(header, -1), beside(header, 0)]) {
      const here = known.get(keyOf(key));
      const next = known.get(keyOf(beside(key, 1)));
      if (!here || !next || next.prev === null || next.prev === here.sha256) continue;
      forks.set(keyOf(key), {
        ...key,
        sha256: next.prev,
        reason: 'chain',
        uuid: null,
        time: next.time,
        loaded: now,
      });
    }
  }
  return [...forks.values()];
}

export async function insertForks(
  db: Kysely<Tables>,
  dialect: DialectName,
  forks: readonly Fork[],
): Promise<void> {
  await upsertRows(db, dialect, 'forks', forks, {
    keys: ['node', 'agent', 'epoch', 'seq', 'sha256'],
    update: [],
  });
}
