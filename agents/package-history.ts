import * as z from 'zod';
import { defineLog } from '../src/plugin/agent.ts';
import { apkLog } from '../src/source/history/apk-log.ts';
import { aptHistory } from '../src/source/history/apt-history.ts';
import { dnfEntries } from '../src/source/history/dnf-history.ts';
import { dpkgLog } from '../src/source/history/dpkg-log.ts';
import { historyActions, historyFields, readHistory } from '../src/source/history/packagehistory.ts';
import { pacmanLog } from '../src/source/history/pacman-log.ts';
import { zyppHistory } from '../src/source/history/zypp-history.ts';
import { localClock } from '../src/source/localtime.ts';

/**
 * What package managers recorded of themselves, also from before DSAC was installed. An item is `<manager>/<name>/<arch>`, as far as the log says the
 * architecture: manager `dpkg` for apt and dpkg, `rpm` for dnf, yum and zypp. apt knows who and how, dpkg.log knows when and what took effect: both tell the same
 * change, and it is for a report to join them.
 */
export default defineLog({
  name: 'package-history',
  summary: 'packages installed, upgraded and removed, by whom and how, as their managers recorded it',
  every: '15m',
  options: z.strictObject({}),
  fields: historyFields,
  actions: historyActions,
  sources: {
    async *apt(context, cursor) {
      yield* readHistory(aptHistory(await localClock(context.system), context.now), context, cursor);
    },
    async *dpkg(context, cursor) {
      yield* readHistory(dpkgLog(await localClock(context.system)), context, cursor);
    },
    dnf: dnfEntries,
    async *zypp(context, cursor) {
      yield* readHistory(zyppHistory(await localClock(context.system)), context, cursor);
    },
    apk: (context, cursor) => readHistory(apkLog(), context, cursor),
    async *pacman(context, cursor) {
      yield* readHistory(pacmanLog(await localClock(context.system)), context, cursor);
    },
  },
});
