import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { projectRoot } from '../../config/project.ts';
import { DsacError } from '../../errors.ts';
import { EXIT } from '../exit.ts';
import { directory } from '../setting.ts';
import { writeOut } from '../terminal.ts';

interface DemoOptions {
  readonly home?: string;
  readonly rootfs?: string;
}

interface Scene {
  readonly title: string;
  readonly args: readonly string[];
  /** Lines of output to show; the rest is counted. */
  readonly lines?: number;
  /** Exit codes that are no failure here. */
  readonly mayEnd?: readonly number[];
}

const SCENES: readonly Scene[] = [
  { title: 'make a configuration, a node id and a signing key', args: ['init'] },
  // Without root some sources (btmp, shadow) cannot be read: the agent says so, and the others go on.
  { title: 'collect what is on this machine', args: ['agent'], mayEnd: [EXIT.ok, EXIT.unavailable] },
  { title: 'look at what waits in the spool', args: ['spool', 'ls'], lines: 12 },
  { title: 'send it (here: to the central spool on this host)', args: ['dispatch'] },
  { title: 'archive it and load the store', args: ['process'] },
  { title: 'is the account complete?', args: ['report', 'completeness'], lines: 12 },
  { title: 'what changed in the last 7 days', args: ['report', 'packages', '--since', '7d'], lines: 12 },
  { title: 'who logged in', args: ['report', 'logins', '--since', '30d'], lines: 12 },
];

const NEXT = [
  'report packages --since 7d',
  'report changes --since 30d --format csv',
  'report completeness --format json',
  'spool ls --stack in',
  'agent --list',
  'cron',
];

function commandLine(args: readonly string[], home: string): string {
  return `npx dsac ${args.join(' ')} --home ${home}`;
}

/** Runs one command of this same program and answers its exit code and output. */
async function perform(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [join(projectRoot, 'bin/dsac.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, COLUMNS: '110' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((settle, reject) =>
    child.once('error', reject).once('close', settle),
  );
  return { code, output };
}

function shown(output: string, lines: number | undefined): string {
  const all = output.trimEnd().split('\n');
  const head = lines === undefined ? all : all.slice(0, lines);
  const rest = all.length - head.length;
  return [...head, ...(rest > 0 ? [`… and ${rest} more lines`] : [])].map((line) => `    ${line}`).join('\n');
}

async function runDemo(options: DemoOptions): Promise<void> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), 'dsac-demo-'));
  const flags = ['--home', home, ...(options.rootfs === undefined ? [] : ['--rootfs', options.rootfs])];
  for (const [index, { title, args, lines, mayEnd = [EXIT.ok] }] of SCENES.entries()) {
    await writeOut(`\n[${index + 1}/${SCENES.length}] ${title}\n  $ ${commandLine(args, home)}\n`);
    const { code, output } = await perform([...args, ...flags]);
    if (output.trim() !== '') await writeOut(`${shown(output, lines)}\n`);
    if (code === null || !(mayEnd as readonly number[]).includes(code)) {
      throw new DsacError(
        'software',
        `the demo stopped: dsac ${args.join(' ')} ended with exit code ${code}`,
        { hint: `its files are in ${home}` },
      );
    }
  }
  await writeOut(
    `\nThe demo's files are in ${home}: configuration in etc/dsac, spools in var/spool/dsac, archive and store in var/lib/dsac.\nTry next:\n`,
  );
  for (const line of NEXT) await writeOut(`  ${commandLine(line.split(' '), home)}\n`);
}

/** `dsac demo` */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('run the whole job once on this host, without servers, in a directory of its own')
    .option('--home <dir>', 'use this directory (default: a new one in the system’s temporary folder)')
    .option('--rootfs <dir>', 'the system that agents look at (default: /)', directory)
    .action((options: DemoOptions) => runDemo(options));
}
