/**
 * A report to copy: name the file as the report, say what a row is, and yield rows from the store. Formats, files, the window's defaults and the
 * head line are the runner's; reports/users.ts is a small real one.
 */
import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { eventsIn } from '../src/store/events.ts';
import { rowShape } from '../src/store/row-shape.ts';

const row = z.object({
  ...rowShape,
  item: z.string().nullable().describe('what it happened to'),
});

export default defineReport<z.infer<typeof row>>({
  name: '_template',
  summary: 'what the report answers, in one line',
  since: '7d',
  row,
  columns: [{ key: 'time' }, { key: 'host' }, { key: 'action' }, { key: 'item' }],
  async *rows(store, scope) {
    for await (const { time, node, host, action, item } of eventsIn(store, scope, ['template'])) {
      yield { time, node, host, action, item };
    }
  },
});
