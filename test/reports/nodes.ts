/** Batches as the agents would write them on 23 November 2026, with text that a hostile node might send. */
import type { Batch, BatchEvent, Fields } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { wellFormed } from '../../src/store/wellformed.ts';
import { FakeNode } from '../helpers/batches.ts';
import { at } from '../store/stores.ts';

/** Escape sequences, an override, separators, a formula, quotes: what must not act wherever it is shown. */
export const HOSTILE = `=cmd|'/c calc'!A1\u001b]0;owned\u0007\u009b31m\u202egpj\u2028 "x",\t\r\n<b>\u200b\ud800`;

/** The first batch of changes of an inventory that was empty before, looked at before at 01:00. */
export function changes(
  agent: string,
  clock: string,
  events: readonly Omit<BatchEvent, 'time'>[],
  node = new FakeNode(),
): Batch {
  const time = at(clock);
  const state = events.flatMap(({ item, after }) =>
    item && after ? [[wellFormed(item), canonical(after)] as const] : [],
  );
  return node.next(
    agent,
    'changes',
    events.map((event) => ({ ...event, time })),
    { time, since: at('01:00'), state: { items: state.length, digest: stateDigest(state) } },
  );
}

/** A batch of a log. */
export function log(
  agent: string,
  clock: string,
  events: readonly BatchEvent[],
  node = new FakeNode(),
): Batch {
  return node.next(agent, 'log', [...events], { time: at(clock) });
}

/** An event of a service or account. */
export function changed(
  item: string,
  action: string,
  before: Fields | undefined,
  after: Fields | undefined,
): Omit<BatchEvent, 'time'> {
  return { action, item, source: 'test', ...(before && { before }), ...(after && { after }) };
}
