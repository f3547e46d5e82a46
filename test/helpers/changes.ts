/** What an agent says about the difference between two looks, by way of the runner's own comparison. */
import type { Agent, InventoryAgent, Item } from '../../src/plugin/agent.ts';
import { diff } from '../../src/run/diff.ts';
import type { BatchEvent, Fields } from '../../src/spool/batch.ts';

/** The time that an event has when its source does not say when it happened. */
export const RUN_TIME = '2000-01-01T00:00:00.000Z';

/** The events that lead from one inventory of `source` to another. */
export function eventsBetween(
  agent: Agent,
  source: string,
  before: readonly Item<object>[],
  after: readonly Item<object>[],
): BatchEvent[] {
  // as the runner keeps them: plain JSON, so that no field is undefined
  const [was, is] = [before, after].map((items) => {
    const plain = JSON.parse(JSON.stringify(items)) as Item<Fields>[];
    return new Map(plain.map((item) => [item.key, { ...item, source }]));
  });
  return diff(agent as InventoryAgent, was!, is!, new Set([source]), RUN_TIME);
}
