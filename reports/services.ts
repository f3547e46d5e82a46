import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import type { Fields } from '../src/spool/batch.ts';
import { eventsIn, type StoredEvent } from '../src/store/events.ts';
import { rowShape } from '../src/store/row-shape.ts';
import { differenceText } from '../src/store/summary.ts';

const row = z.object({
  ...rowShape,
  unit: z.string().describe('name of the service, as its init system writes it'),
  from: z.string().nullable().describe('state before: active (running), enabled, …'),
  to: z.string().nullable().describe('state after'),
  source: z.string().nullable().describe('init system: systemd, openrc, sysv'),
});

const FILE_ACTIONS = new Set(['enabled', 'disabled', 'masked', 'unmasked']);

/** `active (running)`; where the init system does not run, whether it starts by itself. */
function stateOf(fields: Fields | undefined): string | null {
  if (!fields) return null;
  const { active, sub, enabled } = fields;
  if (typeof active !== 'string') return typeof enabled === 'string' ? enabled : null;
  return typeof sub === 'string' ? `${active} (${sub})` : active;
}

function fileStateOf(fields: Fields | undefined): string | null {
  return typeof fields?.enabled === 'string' ? fields.enabled : null;
}

/** The states that an event leads from and to, in the words that belong to its action. */
function states({ action, before, after }: StoredEvent): { from: string | null; to: string | null } {
  if (FILE_ACTIONS.has(action)) return { from: fileStateOf(before), to: fileStateOf(after) };
  const state = { from: stateOf(before), to: stateOf(after) };
  if (action !== 'changed' && action !== 'differed') return state;
  if (state.from !== state.to) return state;
  return { from: null, to: differenceText(before, after) };
}

export default defineReport<z.infer<typeof row>>({
  name: 'services',
  summary: 'services started, stopped, failed, enabled, masked',
  since: '7d',
  row,
  columns: [
    { key: 'time' },
    { key: 'host' },
    { key: 'action' },
    { key: 'unit' },
    { key: 'from' },
    { key: 'to' },
  ],
  async *rows(store, scope) {
    for await (const event of eventsIn(store, scope, ['services'])) {
      const { time, node, host, action, item, source } = event;
      const unit = event.after?.unit ?? event.before?.unit ?? item?.slice(item.indexOf('/') + 1) ?? '';
      yield { time, node, host, action, unit: String(unit), ...states(event), source };
    }
  },
});
