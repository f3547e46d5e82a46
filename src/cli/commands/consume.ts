import type { Command } from 'commander';
import { DsacError } from '../../errors.ts';
import { type CommonOptions, prepare, withCommon, withMaxTime } from '../setting.ts';
import { say } from '../terminal.ts';

interface ConsumeOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly setup?: boolean;
  readonly maxTime?: number;
}

async function runConsume(given: ConsumeOptions): Promise<void> {
  const limit = given.maxTime === undefined ? {} : { maxTimeMs: given.maxTime };
  const { program, config, paths, log, signal } = await prepare('dsac-consume', given);
  if (!config.consume) {
    throw new DsacError(
      'config',
      `${config.file}: there is no 'consume' section, so no broker to consume from`,
      {
        hint: 'add one, with at least its url; without a broker the directory dispatcher fills the central spool',
      },
    );
  }
  const { consume, consumeSchema, setUp } = await import('../../run/consume.ts');
  const options = config.section(['consume'], config.consume, consumeSchema);
  if (given.setup) return setUp(options, paths.home);
  const [{ Spool }, { configuredQuota }] = await Promise.all([
    import('../../spool/spool.ts'),
    import('../../run/configured.ts'),
  ]);
  const spool = new Spool(paths.in, { by: program });
  await spool.create();
  const done = await consume({
    options,
    home: paths.home,
    spool,
    log,
    signal,
    follow: given.follow ?? false,
    quota: configuredQuota(config, 'in'),
    ...limit,
  });
  log.info({ ...done }, 'consumed');
  if (done.corrupt > 0)
    say(
      program,
      `${done.corrupt} message(s) that are no batch set aside: see dsac spool ls corrupt --stack in`,
    );
  if (done.recovered > 0)
    say(
      program,
      `${done.recovered} message(s) that the queue had given up on were taken in: consumers had been killed while they held them, again and again`,
    );
  if (process.stderr.isTTY) say(program, `${done.batches} batches in ${done.segments} segments`);
  if (done.full) throw done.full;
  if (done.lost !== undefined) throw new DsacError('tempfail', `the broker went away: ${done.lost}`);
}

/** `dsac consume` */
export function registerConsume(program: Command): void {
  withMaxTime(withCommon(program.command('consume')))
    .description('receive: take batches from the broker into the central spool, then leave')
    .option('--follow', 'stay, and reconnect when the broker goes away')
    .option('--setup', 'only declare exchange and queues on the broker')
    .action((options: ConsumeOptions) => runConsume(options));
}
