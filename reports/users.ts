import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { type Fields, fieldsSchema } from '../src/spool/batch.ts';
import { eventsIn } from '../src/store/events.ts';
import { rowShape } from '../src/store/row-shape.ts';
import { changedFields, differenceText } from '../src/store/summary.ts';

const row = z.object({
  ...rowShape,
  kind: z.string().describe('user, group or nis'),
  name: z.string().describe('name of the account or group'),
  changed: z.array(z.string()).describe('names of the fields that differ; empty when it is new or gone'),
  before: fieldsSchema.nullable().describe('its fields before; null when it was not there'),
  after: fieldsSchema.nullable().describe('its fields after; null when it is gone'),
});

/** Fields without those that the row's own columns show. */
function others(fields: Fields | null): Fields | undefined {
  if (fields === null) return undefined;
  const { kind: _kind, name: _name, ...rest } = fields;
  return rest;
}

export default defineReport<z.infer<typeof row>>({
  name: 'users',
  summary: 'accounts and groups added, changed, locked, removed',
  since: '7d',
  row,
  columns: [
    { key: 'time' },
    { key: 'host' },
    { key: 'action' },
    { key: 'kind' },
    { key: 'name' },
    {
      key: 'changed',
      title: 'what',
      text: ({ before, after }) => differenceText(others(before), others(after)),
    },
  ],
  async *rows(store, scope) {
    for await (const { time, node, host, action, item, before, after } of eventsIn(store, scope, ['users'])) {
      const [kind = '', ...name] = (item ?? '').split('/');
      const changed = before && after ? changedFields(before, after) : [];
      yield {
        time,
        node,
        host,
        action,
        kind,
        name: name.join('/'),
        changed,
        before: before ?? null,
        after: after ?? null,
      };
    }
  },
});
