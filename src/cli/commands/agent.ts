import type { Command } from 'commander';
import { DsacError } from '../../errors.ts';
import { System } from '../../host/system.ts';
import { collect } from '../../run/collect.ts';
import { loadIdentity } from '../../run/identity.ts';
import { takeNews } from '../../run/news.ts';
import type { AgentPlan } from '../../run/plan.ts';
import { type AgentOutcome, NoReceipt } from '../../run/receipt.ts';
import { originOf } from '../../run/stream.ts';
import { taskOf } from '../../run/task.ts';
import { Spool } from '../../spool/spool.ts';
import { EXIT } from '../exit.ts';
import { safe } from '../output/safe.ts';
import {
  type CommonOptions,
  type Plain,
  planFor,
  prepare,
  prepareWithout,
  type Setting,
  withCommon,
  within,
  withMaxTime,
} from '../setting.ts';
import { say, writeOut } from '../terminal.ts';
import { build } from '../version.ts';

interface AgentOptions extends CommonOptions {
  readonly list?: boolean;
  readonly print?: boolean;
  readonly maxTime?: number;
}

/** What the configuration amounts to for these agents. */
function plan(names: readonly string[], options: AgentOptions): Promise<AgentPlan> {
  return planFor('dsac-agent', names, options, async (config) => {
    const { planAgents } = await import('../../run/configured.ts');
    return planAgents(config, names);
  });
}

async function listAgents(setting: Setting): Promise<void> {
  const { configuredTasks } = await import('../../run/configured.ts');
  const { columns } = await import('../output/columns.ts');
  const { formatDuration } = await import('../../config/time.ts');
  const tasks = await configuredTasks(setting.config, []);
  const rows = await Promise.all(
    tasks.map(async ({ name, load, everyMs }) => {
      const { type, summary } = await load();
      return [name, type, formatDuration(everyMs), summary];
    }),
  );
  await writeOut(columns(['agent', 'kind', 'every', 'collects'], rows));
}

/** Tells a person at a terminal how each agent fared; under cron only what failed, as far as `isNews`. */
function tell(
  program: string,
  outcomes: readonly AgentOutcome[],
  isNews: (outcome: AgentOutcome) => boolean,
): void {
  for (const one of outcomes) {
    const { agent, outcome, reason, cause, events, items, durationMs } = one;
    if (outcome === 'failed') {
      if (cause !== 'quota' && isNews(one)) say(program, `${agent}: failed: ${reason}`);
    } else if (process.stderr.isTTY) {
      const counts = [
        `${events} events`,
        ...(items === undefined ? [] : [`${items} items`]),
        `${durationMs} ms`,
      ].join(', ');
      say(program, `${agent}: ${outcome}${outcome === 'ok' ? `: ${counts}` : reason ? `: ${reason}` : ''}`);
    }
  }
}

/** At a terminal, or of agents that were asked for by name, everything is news; under cron what was not told before. */
async function newsOf(
  { paths, clock }: Plain,
  outcomes: readonly AgentOutcome[],
  onlyDue: boolean,
): Promise<(outcome: AgentOutcome) => boolean> {
  const news = await takeNews(paths, outcomes, clock());
  return ({ agent }) => !onlyDue || process.stderr.isTTY || news.has(agent);
}

/** One line for all agents that found no room: the reason is the same, and it is not theirs. */
function tellFull(program: string, outcomes: readonly AgentOutcome[]): void {
  const stopped = outcomes.filter(({ cause }) => cause === 'quota');
  if (stopped.length === 0) return;
  const names = stopped.map(({ agent }) => agent).join(', ');
  say(program, `stopped for lack of room: ${names}: ${stopped[0]!.reason}`);
}

/** What the outcomes amount to: a source that could not be read is for a person to mend, what was only stopped goes on by itself. */
function exitOf(outcomes: readonly AgentOutcome[]): number {
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed');
  if (failed.some(({ cause }) => cause === undefined)) return EXIT.unavailable;
  return failed.length > 0 ? EXIT.tempfail : EXIT.ok;
}

async function runAgents(names: readonly string[], options: AgentOptions): Promise<void> {
  const { host, snapshotMs, quota, tasks } = await plan(names, options);
  const setting = await prepareWithout('dsac-agent', options);
  const onlyDue = names.length === 0;
  const { paths, log, clock, program } = setting;
  const system = new System(options.rootfs);
  const origin = await originOf(system, await loadIdentity(paths), host);
  const spool = new Spool(paths.out, { by: program });
  await spool.create();
  const run = {
    origin,
    paths,
    spool,
    system,
    build: build(),
    log,
    clock,
    signal: within(setting.signal, options.maxTime),
    onlyDue,
    snapshotMs,
    quota,
  };
  try {
    const outcomes = await collect(run, tasks.map(taskOf));
    const isNews = await newsOf(setting, outcomes, onlyDue);
    tell(program, outcomes, isNews);
    tellFull(program, outcomes);
    process.exitCode = exitOf(outcomes);
  } catch (error) {
    // The receipt is not there for the same reason: one line for both.
    if (error instanceof NoReceipt) tell(program, error.outcomes, () => true);
    throw error;
  }
}

async function runAgent(names: string[], options: AgentOptions): Promise<void> {
  if (!options.list && !options.print) return runAgents(names, options);
  const prepared = await prepare('dsac-agent', options);
  const setting = { ...prepared, signal: within(prepared.signal, options.maxTime) };
  if (options.list) return listAgents(setting);
  const { configuredTasks } = await import('../../run/configured.ts');
  const tasks = await configuredTasks(setting.config, names);
  const { printAgent } = await import('../../run/print.ts');
  const failed = await printAgent(tasks, {
    rootfs: options.rootfs,
    log: setting.log,
    signal: setting.signal,
    now: setting.clock(),
    write: (text) => writeOut(process.stdout.isTTY ? safe(text, { newlines: true }) : text),
  });
  for (const { name, reason, status } of failed) say('dsac-agent', `${name}: ${status}: ${reason}`);
  if (failed.some(({ status }) => status === 'failed'))
    throw new DsacError('unavailable', 'not every source could be read; what is printed is not the whole');
}

/** `dsac agent` */
export function registerAgent(program: Command): void {
  withMaxTime(withCommon(program.command('agent')))
    .description('collect: run the agents named, or all that are due, and spool what they find')
    .argument('[name...]', 'agents to run now, due or not')
    .option('--list', 'list the agents there are')
    .option('--print', 'print what they collect to stdout as JSON Lines; the spool stays untouched')
    .action((names: string[], options: AgentOptions) => runAgent(names, options));
}
