/** Compares an inventory with its baseline and puts the difference into the agent's own words. Pure. */
import type { Change, InventoryAgent, Step } from '../plugin/agent.ts';
import type { BatchEvent, Fields } from '../spool/batch.ts';
import { canonical, sameFields } from '../spool/canonical.ts';
import type { Baseline, BaselineItem } from './state.ts';

/** The items that differ, by key: what went, what came, what changed. */
function* differences(before: Baseline, after: Baseline): Generator<Change> {
  for (const [key, was] of before) {
    if (!after.has(key)) yield { key, source: was.source, before: was.fields, after: undefined };
  }
  for (const [key, is] of after) {
    const was = before.get(key);
    if (!was) yield { key, source: is.source, before: undefined, after: is.fields };
    else if (!sameFields(was.fields, is.fields))
      yield { key, source: is.source, before: was.fields, after: is.fields };
  }
}

/** The fields between two steps: those of `before`, with the named ones as in `after`. */
function halfway(before: Fields, after: Fields, fields: readonly string[]): Fields {
  const between: Fields = { ...before };
  for (const field of fields) {
    if (after[field] === undefined) delete between[field];
    else between[field] = after[field];
  }
  return between;
}

/** One change as events, one per step; replaying them in order leads from `before` to `after` exactly. */
function stepsToEvents(change: Change, steps: readonly Step[], time: string): BatchEvent[] {
  const events: BatchEvent[] = [];
  let from = change.before;
  for (const [index, step] of steps.entries()) {
    const last = index === steps.length - 1;
    const to = last || !from || !change.after ? change.after : halfway(from, change.after, step.fields ?? []);
    events.push({
      time: step.time ?? time,
      action: step.action,
      item: change.key,
      source: change.source,
      ...(from === undefined ? {} : { before: from }),
      ...(to === undefined ? {} : { after: to }),
      ...(step.by === undefined ? {} : { by: step.by }),
    });
    from = to;
    if (to === undefined) break;
  }
  return events;
}

function present(item: BaselineItem, time: string): BatchEvent {
  return { time, action: 'present', item: item.key, source: item.source, after: item.fields };
}

/**
 * The events that lead from `before` to `after`. Items of a source that is not in `known` were never read before: they are
 * `present`, not added. `time` is the run's own, for changes whose source does not say when.
 */
export function diff(
  agent: InventoryAgent,
  before: Baseline,
  after: Baseline,
  known: ReadonlySet<string>,
  time: string,
): BatchEvent[] {
  const events: BatchEvent[] = [];
  for (const change of differences(before, after)) {
    if (!known.has(change.source) && change.before === undefined) {
      events.push(present(after.get(change.key)!, time));
      continue;
    }
    const described = agent.describe(change);
    const steps = (Array.isArray(described) ? described : [described]) as readonly Step[];
    events.push(...stepsToEvents(change, steps.length > 0 ? steps : [{ action: 'changed' }], time));
  }
  return events;
}

/** The whole inventory as the events of a snapshot. */
export function snapshotEvents(items: Baseline, time: string): BatchEvent[] {
  return Array.from(items.values(), (item) => present(item, time));
}

/** Key and canonical fields of every item, as the state digest wants them. */
export function* digestInput(items: Baseline): Generator<[string, string]> {
  for (const { key, fields } of items.values()) yield [key, canonical(fields)];
}
