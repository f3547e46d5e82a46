/** Batches as the agents would write them on 23 November 2026, with text that a hostile node might send. */
import type { Batch, BatchEvent, Fields } from '../../src/spool/batch.ts';
import { FakeNode } from '../helpers/batches.ts';
import { at } from '../store/stores.ts';

/** Escape sequences, an override, separators, a formula, quotes: what must not act wherever it is shown. */
export const HOSTILE = `=cmd|'/c calc'!A1\u001b]0;owned\u0007\u009b31m\u202egpj\u2028 "x",\t\r\n<b>\u200b\ud800`;

/** A batch of changes, looked at before at 01:00. */
export function changes(
  agent: string,
  clock: string,
  events: readonly Omit<BatchEvent, 'time'>[],
  node = new FakeNode(),
): Batch {
  const time = at(clock);
  return node.next(
    agent,
    'changes',
    events.map((event) => ({ ...event, time })),
    { time, since: at('01:00'), state: { items: 1, digest: '0'.repeat(64) } },
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
