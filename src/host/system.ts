/**
 * The machine that agents look at: its files below a root (`/`, or a tree given by `--rootfs`) and, when it is the running
 * machine, its commands. Symbolic links are followed inside the root, never out of it.
 */
import { constants, type Stats } from 'node:fs';
import { access, type FileHandle, lstat, open, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { isMissing } from '../errors.ts';
import type { ExecutableEnd } from './process.ts';

const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const MAX_LINKS = 40;
/** Locale C and UTC, so that what commands print does not depend on who runs them. */
const PLAIN = { LC_ALL: 'C', LANGUAGE: 'C', TZ: 'UTC' };

/** How a command ended. `stderr` is cut to 16 KiB. */
export type Ended = Pick<ExecutableEnd, 'code' | 'signal' | 'stderr'>;

export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that did not end well: what it was, how it ended, and what it said. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly ended: Ended;

  constructor(command: string, args: readonly string[], ended: Ended) {
    const said = ended.stderr.trim();
    const how = ended.signal === null ? `exit ${ended.code}` : `killed by ${ended.signal}`;
    super(
      `${[command, ...args].join(' ').slice(0, 200)}: ${how}${said === '' ? '' : `: ${said.slice(0, 500)}`}`,
    );
    this.ended = ended;
  }
}

export class System {
  /** The root that paths are below, absolute. */
  readonly root: string;

  constructor(root = '/') {
    this.root = resolve(root);
  }

  /** Whether this is the running machine: only then do `systemctl`, `journalctl` or the boot id speak of it. */
  get live(): boolean {
    return this.root === '/';
  }

  /** The real path of `path` (`/var/log/wtmp`) below the root, each symbolic link resolved as if the root were `/`. */
  async path(path: string): Promise<string> {
    if (this.live) return resolve('/', path);
    let links = 0;
    let done: string[] = [];
    let todo = path.split('/');
    while (todo.length > 0) {
      const part = todo.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        done.pop();
        continue;
      }
      const here = join(this.root, ...done, part);
      const target = await readlink(here).catch(() => undefined);
      if (target === undefined) done.push(part);
      else {
        if (++links > MAX_LINKS) throw new Error(`${path}: too many symbolic links below ${this.root}`);
        if (target.startsWith('/')) done = [];
        todo = [...target.split('/'), ...todo];
      }
    }
    return join(this.root, ...done);
  }

  /** The file's bytes, or undefined when it is not there. */
  async read(path: string): Promise<Buffer | undefined> {
    return this.#ifThere(async () => readFile(await this.path(path)));
  }

  /** What the file is (links followed), or undefined when it is not there. */
  async stat(path: string): Promise<Stats | undefined> {
    return this.#ifThere(async () => stat(await this.path(path)));
  }

  /** What the file is, the last link not followed, or undefined when it is not there. */
  async lstat(path: string): Promise<Stats | undefined> {
    return this.#ifThere(async () =>
      lstat(join(await this.path(join(path, '..')), path.slice(path.lastIndexOf('/') + 1))),
    );
  }

  /** Opens the file for reading, or undefined when it is not there. The caller closes it. */
  async open(path: string): Promise<FileHandle | undefined> {
    return this.#ifThere(async () => open(await this.path(path), 'r'));
  }

  /** Names in a directory, sorted, or undefined when it is not there. */
  async list(path: string): Promise<string[] | undefined> {
    return this.#ifThere(async () => (await readdir(await this.path(path))).sort());
  }

  async #ifThere<T>(step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The full path of a command of the running machine, from PATH and the system's directories; undefined when there is none. */
  async which(command: string): Promise<string | undefined> {
    for (const directory of [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_PATH]) {
      if (!directory.startsWith('/')) continue;
      const candidate = join(directory, command);
      try {
        await access(candidate, constants.X_OK);
        if ((await stat(candidate)).isFile()) return candidate;
      } catch {
        // not here: try the next directory
      }
    }
    return undefined;
  }

  /**
   * Runs a command and yields its standard output line by line, without the LF, as bytes. When it ends with another code than 0 or
   * by a signal, throws `CommandFailed` after the last line: what was yielded before may be half of the truth.
   * Locale is C, the zone UTC; stderr is returned when the iteration ends.
   */
  async *lines(
    command: string,
    args: readonly string[],
    options: RunOptions = {},
  ): AsyncGenerator<Buffer, Ended> {
    const { outputLines, startExecutable } = await import('./process.ts');
    const leaving = new AbortController();
    const { stdout, ended } = startExecutable({
      command: [command, ...args],
      input: options.input ?? '',
      env: { PATH: [process.env.PATH ?? '', ...SYSTEM_PATH].join(delimiter), ...PLAIN, ...options.env },
      signal: AbortSignal.any([leaving.signal, ...(options.signal ? [options.signal] : [])]),
    });
    ended.catch(() => {});
    try {
      yield* outputLines(stdout);
      const how = await ended;
      options.signal?.throwIfAborted();
      if (how.code !== 0) throw new CommandFailed(command, args, how);
      return how;
    } finally {
      leaving.abort();
    }
  }

  /** Runs a command and returns all of its standard output and how it ended; throws only when it cannot be started. */
  async run(
    command: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<Ended & { stdout: Buffer }> {
    const parts: Buffer[] = [];
    const lines = this.lines(command, args, options);
    try {
      for (;;) {
        const { done, value } = await lines.next();
        if (done) return { ...value, stdout: Buffer.concat(parts) };
        parts.push(value, Buffer.from('\n'));
      }
    } catch (error) {
      if (error instanceof CommandFailed) return { ...error.ended, stdout: Buffer.concat(parts) };
      throw error;
    }
  }
}
