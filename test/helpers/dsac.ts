/** Runs the `dsac` that users run: the built one, through its bin. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporary } from './tree.ts';

const bins = fileURLToPath(new URL('../../bin', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface HowToRun {
  /** Which bin: `dsac` unless given. */
  readonly bin?: string;
  readonly env?: Record<string, string>;
  /** Whose process it is: the test's own user unless given. */
  readonly uid?: number;
}

/** Runs one command line and answers how it ended and what it said. */
export async function dsac(
  args: readonly string[],
  { bin = 'dsac', env = {}, uid }: HowToRun = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [join(bins, `${bin}.js`), ...args], {
    env: { ...process.env, DSAC_HOME: '', DSAC_CONFIG: '', NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((settle, reject) =>
    child.once('error', reject).once('close', settle),
  );
  return { code, stdout, stderr };
}

/** An installation in a temporary home. */
export class Home {
  readonly path: string;

  constructor(t: TestContext, config?: string) {
    this.path = temporary(t);
    if (config === undefined) return;
    mkdirSync(join(this.path, 'etc/dsac'), { recursive: true });
    writeFileSync(join(this.path, 'etc/dsac/dsac.yaml'), config);
  }

  /** Runs a command in this home, whatever its exit code. */
  async try(...args: string[]): Promise<Ran> {
    return dsac([...args, '--home', this.path]);
  }

  /** Runs a command in this home and answers its stdout; throws with all it said when it does not end with 0. */
  async run(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.try(...args);
    if (code !== 0) throw new Error(`dsac ${args.join(' ')}: exit ${code}\n${stderr}${stdout}`);
    return stdout;
  }
}
