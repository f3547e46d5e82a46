import { randomUUID } from 'node:crypto';
import { open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DsacError, reasonOf } from '../../errors.ts';
import type { AnyReport, Scope } from '../../plugin/report.ts';
import type { Completeness } from '../../store/completeness-words.ts';
import { openConfiguredStore } from '../configured-store.ts';
import { EXIT } from '../exit.ts';
import type { FormatName } from '../output/formats.ts';
import { type CommonOptions, prepare, withCommon } from '../setting.ts';
import { say, writeOut } from '../terminal.ts';

interface ReportOptions extends CommonOptions {
  readonly since?: string;
  readonly until?: string;
  readonly node?: string[];
  readonly format?: FormatName;
  readonly output?: string;
  readonly fail?: boolean;
}

async function listReports(): Promise<void> {
  const { loadPlugin, pluginNames } = await import('../../plugin/registry.ts');
  const { columns } = await import('../output/columns.ts');
  const reports = await Promise.all(pluginNames('reports').map((name) => loadPlugin('reports', name)));
  const rows = reports.map(({ name, since, summary }) => [name, since, summary]);
  await writeOut(columns(['report', 'since', 'shows'], rows));
}

/** The window that the options name; what the report defaults to where they name none. */
async function windowOf(
  report: AnyReport,
  { since, until }: ReportOptions,
  now: Date,
): Promise<Pick<Scope, 'since' | 'until' | 'now'>> {
  const { parseTime } = await import('../../config/time.ts');
  return {
    since: parseTime(since ?? report.since, now, '--since'),
    until: until === undefined ? now : parseTime(until, now, '--until'),
    now,
  };
}

const DESCRIPTORS = /^\/proc\/[^/]+(?:\/task\/[^/]+)?\/fd$/;

/** Whether a path is a name for what is open already, as `/dev/stdout` and `/dev/fd/3` are: a rename would put a file in the place of that name. */
async function isDescriptor(path: string): Promise<boolean> {
  for (let at = path; ; ) {
    const folder = await realpath(dirname(at)).catch(() => undefined);
    if (folder === undefined) return false;
    if (DESCRIPTORS.test(folder)) return true;
    const link = await readlink(at).catch(() => undefined);
    if (link === undefined) return false;
    at = resolve(folder, link);
  }
}

/**
 * Writes a report to a file and answers what producing it did: beside it first, under a name that nobody can foresee, then in place, so that a reader never finds half of it. What is
 * there and no regular file (a device, a pipe, what is open already) is written to as it is.
 */
async function toFile<T>(
  path: string,
  produce: (write: (text: string) => Promise<unknown>) => Promise<T>,
): Promise<T> {
  const there = await stat(path).catch(() => undefined);
  const inPlace = there !== undefined && (!there.isFile() || (await isDescriptor(path)));
  const target = inPlace ? path : `${path}.${randomUUID()}.new`;
  try {
    // To append leaves alone what is in the file that standard output goes to.
    const file = await open(target, inPlace ? 'a' : 'wx', 0o640);
    let produced: T;
    try {
      produced = await produce((text) => file.writeFile(text));
      if (!inPlace) await file.sync();
    } finally {
      await file.close();
    }
    if (!inPlace) await rename(target, path);
    return produced;
  } catch (error) {
    if (!inPlace) await rm(target, { force: true });
    if (error instanceof DsacError) throw error;
    throw new DsacError('io', `--output: cannot write ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** `--fail`: exit 1 when the account is not complete. Where the text on stdout does not say what is missing, stderr does. */
async function failIncomplete(completeness: Completeness, { format, output }: ReportOptions): Promise<void> {
  const { headLine, isComplete } = await import('../../store/completeness-words.ts');
  if (isComplete(completeness)) return;
  process.exitCode = EXIT.found;
  if ((format ?? 'table') !== 'table' || output !== undefined) say('dsac-report', headLine(completeness));
}

async function runReportCommand(name: string | undefined, options: ReportOptions): Promise<void> {
  if (name === undefined) return listReports();
  if (options.output === '')
    throw new DsacError('usage', '--output: a path cannot be empty', { hint: 'name a file to write to' });
  const setting = await prepare('dsac-report', options);
  const { loadPlugin } = await import('../../plugin/registry.ts');
  const report = await loadPlugin('reports', name);
  const window = await windowOf(report, options, setting.clock());
  const { formatNamed } = await import('../output/formats.ts');
  const { nodesMatching, runReport } = await import('../../run/report.ts');
  const toTerminal = process.stdout.isTTY && options.output === undefined;
  const format = await formatNamed(
    options.format ?? 'table',
    toTerminal ? process.stdout.columns : undefined,
  );
  const store = await openConfiguredStore(setting, { existing: true });
  try {
    const scope: Scope = { ...window, nodes: await nodesMatching(store, options.node ?? []) };
    const produce = (write: (text: string) => Promise<unknown>) =>
      runReport(store, report, scope, format, write);
    const completeness =
      options.output === undefined ? await produce(writeOut) : await toFile(options.output, produce);
    if (options.fail) await failIncomplete(await completeness(), options);
  } finally {
    await store.close();
  }
}

/** `dsac report` */
export function registerReport(program: Command): void {
  withCommon(program.command('report'))
    .description(
      'report: what changed, who did it, who logged in, and how complete that is; without a name: list reports',
    )
    .argument('[name]', 'packages, services, logins, users, changes, completeness')
    .option('--since <time>', 'from then on: 7d, 36h, 2026-11-01, RFC 3339')
    .option('--until <time>', 'up to then (default: now)')
    .option('--node <glob...>', 'only nodes whose host name or id matches')
    .addOption(
      new Option('--format <format>', 'how it is written (default: table)').choices([
        'table',
        'json',
        'ndjson',
        'csv',
      ]),
    )
    .option('--output <file>', 'write to a file, whole or not at all')
    .option('--fail', 'exit 1 when the account is not complete; the report is written all the same')
    .action((name: string | undefined, options: ReportOptions) => runReportCommand(name, options));
}
