/** What cron pays for starting DSAC every minute on every node. */
import { alternate, type Bench, compared, leftOut, pairsOf } from '../bench.ts';
import { BARE_NODE, type Command, dsac, home, lacks, peakMiB, wallMs } from '../commands.ts';

export default {
  name: 'start',
  summary: 'the time and the memory that a command takes that has nothing to do, beside a bare node',
  async run(scope) {
    const idle = await home(scope, 'idle');
    const commands: [name: string, command: Command, atMost: number][] = [
      ['dsac --version', dsac('--version'), 1.25],
      ['dsac dispatch, empty spool', dsac('dispatch', '--home', idle), 1.6],
    ];
    const lines = [];
    const missing = lacks(scope, '/usr/bin/time', ['time']);
    for (const [name, command, atMost] of commands) {
      for (const each of [command, BARE_NODE]) wallMs(each);
      const times = await alternate(
        pairsOf(scope, 31),
        () => wallMs(command),
        () => wallMs(BARE_NODE),
      );
      lines.push(compared(`${name}: time`, 'ms', times, { atMost }));
      if (missing !== undefined) {
        lines.push(leftOut(`${name}: memory`, missing));
        continue;
      }
      const peaks = await alternate(
        pairsOf(scope, 9),
        () => peakMiB(command),
        () => peakMiB(BARE_NODE),
      );
      lines.push(compared(`${name}: memory`, 'MiB', peaks, { atMost: 1.5 }));
    }
    return lines;
  },
} satisfies Bench as Bench;
