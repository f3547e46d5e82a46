import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { bySchema } from '../src/spool/batch.ts';
import { packageEventsIn } from '../src/store/events.ts';
import { packageChanges } from '../src/store/package-stream.ts';
import { rowShape } from '../src/store/row-shape.ts';
import { byText } from '../src/store/summary.ts';
import { storedDate, toStored } from '../src/store/times.ts';

const row = z.object({
  ...rowShape,
  manager: z.string().describe('package manager: dpkg, rpm, apk, pacman'),
  name: z.string().describe('name of the package'),
  arch: z.string().nullable().describe('architecture, where known'),
  from: z.string().nullable().describe('version before; null when it was not there, or where no source says'),
  to: z.string().nullable().describe('version after; null when it is gone'),
  by: bySchema.nullable().describe('who and how, where the manager recorded it'),
  source: z
    .string()
    .describe('what tells of it, most precise first: dpkg+apt+observed; observed is the inventory'),
});

/** Merges what inventories observed with what package managers recorded (src/store/package-changes.ts has the rules). */
export default defineReport<z.infer<typeof row>>({
  name: 'packages',
  summary: 'packages installed, upgraded, removed: one row per change, with versions and who did it',
  since: '7d',
  row,
  columns: [
    { key: 'time' },
    { key: 'host' },
    { key: 'action' },
    { key: 'name', title: 'package', text: ({ name, arch }) => (arch === null ? name : `${name}:${arch}`) },
    { key: 'from' },
    { key: 'to' },
    { key: 'by', text: ({ by }) => byText(by) },
    { key: 'source' },
  ],
  async *rows(store, scope) {
    const [since, until] = [storedDate(scope.since), storedDate(scope.until)];
    for await (const changes of packageChanges(packageEventsIn(store, scope))) {
      for (const change of changes) {
        const time = toStored(change.time);
        if (time >= since && time < until) yield change;
      }
    }
  },
});
