import { isAbsolute, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DsacError } from '../../errors.ts';
import type { Centre, Noted } from '../../run/verify/countersigned.ts';
import type { Finding } from '../../run/verify/findings.ts';
import type { Verified } from '../../run/verify/verify.ts';
import { type CommonOptions, prepare, type Setting, withCommon } from '../setting.ts';
import { say, writeOut } from '../terminal.ts';

interface VerifyOptions extends CommonOptions {
  readonly format: 'text' | 'json' | 'ndjson';
  readonly heads?: Noted[];
}

/** `12345:0120728b…`: the number and digest of a record, as a verification printed them. */
function parseNoted(text: string, before: Noted[] = []): Noted[] {
  const [, n, sha256] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (n === undefined) throw new InvalidArgumentError(`expected NUMBER:SHA256 of a record, found '${text}'.`);
  return [...before, { n: Number(n), sha256: sha256! }];
}

/** Findings that a person is shown one by one; all of them are in the other formats. */
const SHOWN = 100;
const BAR = 30;

/** Writes findings and what they amount to. */
interface Format {
  finding(finding: Finding): Promise<void>;
  end(all: Verified): Promise<void>;
}

/** `web1 logins 42 (epoch e1, node 6f1c…)`: the batch of a finding, as far as it is known. */
function batchOf({ host, node, agent, epoch, seq }: Finding): string {
  if (agent === undefined) return '';
  const parts = [
    ...(epoch === undefined ? [] : [`epoch ${epoch}`]),
    ...(node === undefined ? [] : [`node ${node}`]),
  ];
  return [host ?? '', agent, seq ?? '', `(${parts.join(', ')})`].filter((part) => part !== '').join(' ');
}

function placeOf({ file, offset, kind }: Finding): string {
  if (file === undefined) return '';
  if (offset === undefined) return file;
  return kind === 'heads' ? `${file}:${offset}` : `${file}: at byte ${offset}`;
}

/** The two lines or more that tell a person of a finding. */
function describe(finding: Finding, hint: string): string {
  const { kind, message, expected, received } = finding;
  const where = [placeOf(finding), batchOf(finding)].filter((part) => part !== '').join(': ');
  const values = [
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(received === undefined ? [] : [`received ${received}`]),
  ].join(', ');
  return [
    `${where === '' ? '' : `${where}: `}${kind}: ${message}`,
    ...(values === '' ? [] : [`  ${values}`]),
    `  hint: ${hint}`,
  ].join('\n');
}

const thousands = (n: number): string => n.toLocaleString('en-US');

/** `verified 12,345 batches of 415 nodes, 2026-01-01 … 2026-11-25: all whole`, or what is not. */
function summaryOf({ batches, nodes, from, to, findings, counts }: Verified): string {
  const span = from === undefined ? '' : `, ${from.slice(0, 10)} … ${to!.slice(0, 10)}`;
  const what = `verified ${thousands(batches)} batches of ${thousands(nodes)} nodes${span}`;
  if (findings === 0) return `${what}: all whole`;
  return `${what}: ${thousands(findings)} findings: ${counts.map(({ kind, count }) => `${thousands(count)} ${kind}`).join(', ')}`;
}

async function textFormat(): Promise<Format> {
  const { FINDING_KINDS } = await import('../../run/verify/findings.ts');
  const { safe } = await import('../output/safe.ts');
  let shown = 0;
  return {
    async finding(finding) {
      if (shown++ >= SHOWN) return;
      await writeOut(`${safe(describe(finding, FINDING_KINDS[finding.kind]), { newlines: true })}\n`);
    },
    async end(all) {
      if (shown > SHOWN) await writeOut(`… and ${shown - SHOWN} more: --format ndjson shows all\n`);
      await writeOut(`${safe(summaryOf(all))}\n`);
      for (const note of all.notes) await writeOut(`note: ${safe(note)}\n`);
      if (all.heads)
        await writeOut(
          `countersigned: record ${all.heads.n}, sha256 ${all.heads.sha256}, key ${all.heads.key}\n`,
        );
    },
  };
}

async function jsonFormat(lines: boolean): Promise<Format> {
  const { safeJson } = await import('../output/json.ts');
  let before = lines ? '' : '{"findings":[\n';
  return {
    async finding(finding) {
      await writeOut(`${before}${safeJson(finding)}${lines ? '\n' : ''}`);
      before = lines ? '' : ',\n';
    },
    async end(all) {
      if (lines) return;
      await writeOut(`${before === ',\n' ? '\n' : before}],"summary":${safeJson(all)}}\n`);
    },
  };
}

/** Shows on a terminal how far the reading has come. */
function progressBar(): { progress: (done: number, total: number) => void; clear: () => void } {
  let last = 0;
  return {
    progress(done, total) {
      if (Date.now() - last < 100 && done < total) return;
      last = Date.now();
      const share = total === 0 ? 1 : Math.min(1, done / total);
      const full = Math.round(share * BAR);
      process.stderr.write(
        `\r[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${Math.round(share * 100)} % of ${thousands(total)} bytes`,
      );
    },
    clear: () => void process.stderr.write('\r\x1b[K'),
  };
}

/** The centre's identity where this user can read it; an auditor's copy need not have it. */
async function centreOf({ paths }: Setting): Promise<Centre | undefined> {
  const { loadIdentity } = await import('../../run/identity.ts');
  return loadIdentity(paths).catch((error: unknown) => {
    if (error instanceof DsacError && (error.kind === 'config' || error.kind === 'noperm')) return undefined;
    throw error;
  });
}

/** The results of several subjects as one. */
function together(all: readonly Verified[], notes: readonly string[]): Verified {
  const counts = Map.groupBy(
    all.flatMap((one) => one.counts),
    ({ kind }) => kind,
  );
  const sum = (of: (one: Verified) => number): number => all.reduce((total, one) => total + of(one), 0);
  const times = all
    .flatMap(({ from, to }) => [from, to])
    .filter((time) => time !== undefined)
    .sort();
  return {
    files: sum(({ files }) => files),
    batches: sum(({ batches }) => batches),
    nodes: Math.max(0, ...all.map(({ nodes }) => nodes)),
    from: times[0],
    to: times.at(-1),
    findings: sum(({ findings }) => findings),
    counts: [...counts].map(([kind, some]) => ({
      kind,
      count: some.reduce((total, { count }) => total + count, 0),
    })),
    heads: all.find(({ heads }) => heads !== undefined)?.heads,
    notes: [...new Set([...notes, ...all.flatMap((one) => one.notes)])],
  };
}

async function runVerify(given: string[], options: VerifyOptions): Promise<void> {
  const setting = await prepare('dsac', options);
  const { subjectsOf } = await import('../../run/verify/tasks.ts');
  const { verifyEvidence } = await import('../../run/verify/verify.ts');
  const { config, paths, signal, program } = setting;
  const notes: string[] = [];
  const full = given.map((path) => (isAbsolute(path) ? path : resolve(path)));
  const subjects = await subjectsOf(config, paths, full, notes);
  if (subjects.length === 0)
    throw new DsacError(
      'config',
      `${config.file}: no processor of type 'archive': there is nothing to verify`,
      {
        hint: 'name what to verify: dsac verify PATH…',
      },
    );
  const format =
    options.format === 'text' ? await textFormat() : await jsonFormat(options.format === 'ndjson');
  const bar = process.stderr.isTTY ? progressBar() : undefined;
  const centre = await centreOf(setting);
  const all: Verified[] = [];
  for (const subject of subjects) {
    const task = {
      ...subject,
      paths,
      centre,
      signal,
      noted: options.heads,
      ...(bar ? { progress: bar.progress } : {}),
    };
    let first = true;
    const result = await verifyEvidence(task, (finding) => {
      if (first) bar?.clear();
      first = false;
      return format.finding(finding);
    });
    if (first) bar?.clear();
    all.push(result);
  }
  const result = together(all, notes);
  await format.end(result);
  if (result.findings > 0) {
    if (options.format === 'ndjson') say(program, summaryOf(result));
    throw new DsacError('data', `${thousands(result.findings)} findings: not all is as it was`, {
      hint: 'each says what to do; docs/security.md says what they prove',
    });
  }
}

/** `dsac verify` */
export function registerVerify(program: Command): void {
  withCommon(program.command('verify'))
    .description(
      'prove: check archive, countersigned heads and store against each other and against known keys; exit 65 when anything is not whole',
    )
    .argument('[path...]', 'archives, spools, folders or batch files (default: all of this home)')
    .addOption(
      new Option('--format <format>', 'how findings are written')
        .choices(['text', 'json', 'ndjson'])
        .default('text'),
    )
    .option(
      '--heads <n:sha256>',
      'a record that was noted down: it must be there still; may be repeated',
      parseNoted,
    )
    .action(runVerify);
}
