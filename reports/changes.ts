import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { eventsIn, type StoredEvent } from '../src/store/events.ts';
import { rowShape } from '../src/store/row-shape.ts';
import { byText, differenceText, fieldsText } from '../src/store/summary.ts';

const row = z.object({
  ...rowShape,
  agent: z.string().describe('agent that tells of it'),
  item: z.string().nullable().describe('key of the thing it happened to'),
  summary: z.string().describe('what else is known of it, in a few words'),
  source: z.string().nullable().describe('source of the agent'),
  derived: z.boolean().describe('true: no event told it; a whole inventory differs from what was known'),
});

function summaryOf({ before, after, data, by }: StoredEvent): string {
  const parts = [
    before || after ? differenceText(before, after) : '',
    data ? fieldsText(data) : '',
    byText(by),
  ];
  return parts.filter((part) => part !== '').join('; ');
}

export default defineReport<z.infer<typeof row>>({
  name: 'changes',
  summary: 'every event of every agent, one line each',
  since: '24h',
  row,
  columns: [
    { key: 'time' },
    { key: 'host' },
    { key: 'agent' },
    { key: 'action' },
    { key: 'item' },
    { key: 'summary' },
  ],
  async *rows(store, scope) {
    for await (const event of eventsIn(store, scope)) {
      const { time, node, host, action, agent, item, source, derived } = event;
      yield { time, node, host, action, agent, item, summary: summaryOf(event), source, derived };
    }
  },
});
