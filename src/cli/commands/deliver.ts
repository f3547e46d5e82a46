import type { Command } from 'commander';
import type { Trust } from '../../config/schema.ts';
import type { HandlerFolder } from '../../run/configured.ts';
import type { Delivered } from '../../run/deliver.ts';
import type { DeliverPlan } from '../../run/plan.ts';
import { type Delivery, type Post, postOf } from '../../run/post.ts';
import { isIdle } from '../../spool/idle.ts';
import type { Gate, Routed } from '../../spool/route.ts';
import { EXIT } from '../exit.ts';
import {
  type CommonOptions,
  type Plain,
  pathsFor,
  planFor,
  prepareWithout,
  withCommon,
  within,
  withMaxTime,
} from '../setting.ts';
import { print, say, writeOut } from '../terminal.ts';

/** A destination that is down is nobody's business until it has been for this long, in ms. */
const PATIENCE = 3_600_000;

interface DeliverOptions extends CommonOptions {
  readonly list?: boolean;
  readonly maxTime?: number;
}

interface Side {
  readonly program: 'dsac-dispatch' | 'dsac-process';
  readonly stack: 'out' | 'in';
  readonly folder: HandlerFolder;
}

async function listPosts(posts: readonly Post[], what: string): Promise<void> {
  const { columns } = await import('../output/columns.ts');
  const rows = posts.map(({ name, handler, agents }) => [
    name,
    handler.name,
    agents.join(' '),
    handler.summary,
  ]);
  await writeOut(columns([what, 'type', 'wants', 'does'], rows));
}

function describeDelivery({ outcome, delivered, deferred, failed, reason }: Delivery, stack: string): string {
  const counts = [
    `${delivered} delivered`,
    ...(deferred ? [`${deferred} deferred`] : []),
    ...(failed ? [`${failed} given up: see dsac spool ls failed${stack}`] : []),
  ].join(', ');
  return outcome === 'ok' ? counts : `${outcome}: ${reason ?? 'another run is at work'} (${counts})`;
}

/** Says what a person should know: at a terminal everything, under cron what was given up and what has been down for long. */
function tell(setting: Plain, { routed, unrouted, deliveries, orphans }: Delivered, asked: boolean): void {
  const stack = setting.program === 'dsac-process' ? ' --stack in' : '';
  if (routed && routed.corrupt > 0)
    say(setting.program, `${routed.corrupt} damaged file(s) set aside: see dsac spool ls corrupt${stack}`);
  if (routed && routed.unreadable > 0)
    say(
      setting.program,
      `${routed.unreadable} file(s) that cannot be read put on hold: see dsac spool ls hold${stack}`,
    );
  if (routed?.forged)
    say(
      setting.program,
      `${routed.forged} batch(es) not signed by the node that they name set aside: see dsac spool ls corrupt${stack}`,
    );
  if (routed?.strange)
    say(
      setting.program,
      `${routed.strange} batch(es) of nodes that are not known put on hold: see dsac spool ls hold${stack}`,
    );
  if (unrouted !== undefined) say(setting.program, `${unrouted}; what was routed before is still delivered`);
  for (const { handler, files } of orphans) {
    say(setting.program, `${files} file(s) wait in queue/${handler}, but no '${handler}' is configured`);
    say(
      setting.program,
      `hint: configure it, or hand them to the others: dsac spool hold queue/${handler}${stack}, then dsac spool release`,
    );
  }
  for (const delivery of deliveries) {
    const { handler, outcome, failed, failingSince } = delivery;
    const long =
      failingSince !== undefined && setting.clock().getTime() - Date.parse(failingSince) > PATIENCE;
    const matters = failed > 0 || outcome === 'broken' || (outcome === 'down' && (asked || long));
    if (process.stderr.isTTY || matters)
      say(setting.program, `${handler}: ${describeDelivery(delivery, stack)}`);
  }
  if (routed && routed.unwanted > 0 && process.stderr.isTTY)
    say(setting.program, `${routed.unwanted} file(s) that no handler wants stay in new/`);
}

/** Asked before configuration and handlers are loaded: most runs of cron find nothing. Who asks for more than that gets the whole answer. */
function isNothingToDo({ stack }: Side, names: readonly string[], options: DeliverOptions): boolean {
  const plain = names.length === 0 && !options.list && !options.verbose;
  return plain && isIdle(pathsFor(options)[stack]);
}

/** Whether routing has set something aside for a person. */
function isToLookAt(routed: Routed | undefined): boolean {
  const { corrupt = 0, unreadable = 0, forged = 0, strange = 0 } = routed ?? {};
  return corrupt + unreadable + forged + strange > 0;
}

/** What the configuration amounts to for these handlers. */
function plan(
  { program, folder }: Side,
  names: readonly string[],
  options: DeliverOptions,
): Promise<DeliverPlan> {
  return planFor(program, names, options, async (config) => {
    const { planDelivery } = await import('../../run/configured.ts');
    return planDelivery(config, folder, names);
  });
}

async function runDeliver(side: Side, names: string[], options: DeliverOptions): Promise<void> {
  if (isNothingToDo(side, names, options)) return;
  const { posts: planned, store, trust, quota } = await plan(side, names, options);
  const posts = await Promise.all(planned.map(postOf));
  if (options.list) return listPosts(posts, side.folder.slice(0, -1));
  const setting = await prepareWithout(side.program, options);
  const [{ deliver }, { Spool }] = await Promise.all([
    import('../../run/deliver.ts'),
    import('../../spool/spool.ts'),
  ]);
  const { paths, log, clock, signal, program } = setting;
  const spool = new Spool(side.stack === 'out' ? paths.out : paths.in, { by: program });
  const only = names.length > 0 ? names : undefined;
  const done = await deliver(
    {
      spool,
      stack: side.stack,
      paths,
      store,
      log,
      clock,
      random: Math.random,
      signal: within(signal, options.maxTime),
      print,
      only,
      gate: side.stack === 'in' ? await gateFor(setting, posts, trust) : undefined,
      quota,
    },
    posts,
  );
  tell(setting, done, only !== undefined);
  const { deliveries } = done;
  if (deliveries.some(({ outcome }) => outcome === 'broken')) process.exitCode = EXIT.io;
  else if (
    done.unrouted !== undefined ||
    deliveries.some(({ outcome, failed }) => outcome === 'down' || failed > 0)
  )
    process.exitCode = EXIT.tempfail;
  else if (isToLookAt(done.routed)) process.exitCode = EXIT.data;
}

/** What decides which batches processors see. A relay, which only sends on, leaves that to where they arrive. */
async function gateFor(
  { paths, log, clock }: Plain,
  posts: readonly Post[],
  trust: Trust,
): Promise<Gate | undefined> {
  const { hasPlugin } = await import('../../plugin/registry.ts');
  if (!posts.some(({ handler }) => hasPlugin('processors', handler.name))) return undefined;
  const { CentralGate } = await import('../../run/gate.ts');
  return new CentralGate({ paths, log, clock, trust });
}

/** `dsac dispatch` */
export function registerDispatch(program: Command): void {
  const side: Side = { program: 'dsac-dispatch', stack: 'out', folder: 'dispatchers' };
  withMaxTime(withCommon(program.command('dispatch')))
    .description(
      'send: route what agents spooled to every dispatcher that wants it, deliver all that can be delivered',
    )
    .argument('[dispatcher...]', 'only these, even while they back off')
    .option('--list', 'list the configured dispatchers and what they want')
    .action((names: string[], options: DeliverOptions) => runDeliver(side, names, options));
}

/** `dsac process` */
export function registerProcess(program: Command): void {
  const side: Side = { program: 'dsac-process', stack: 'in', folder: 'processors' };
  withMaxTime(withCommon(program.command('process')))
    .description('correlate: route what arrived to every processor that wants it: archive, store, …')
    .argument('[processor...]', 'only these, even while they back off')
    .option('--list', 'list the configured processors and what they want')
    .action((names: string[], options: DeliverOptions) => runDeliver(side, names, options));
}
