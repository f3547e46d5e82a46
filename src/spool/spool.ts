/**
 * The spool: directories whose names are the states of the files in them (docs/format.md §3). It knows batches and
 * handlers' names; it knows nothing of agents, brokers or databases. A file that it moves is durable where it arrives before it
 * leaves where it was. What decodes batches is loaded when a batch is decoded: agents only ever write them.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DsacError, errorCode, isMissing, reasonOf } from '../errors.ts';
import type { Decoded, Signatures } from './decode.ts';
import { type Disk, realDisk, TOO_LARGE, unlessDone } from './disk.ts';
import { MAX_UNFOLDED } from './limits.ts';
import { freeName, linkFile, moveFile, sameFile } from './moves.ts';
import { isShown } from './names.ts';
import type { Interest, Routed, RouteOptions } from './route.ts';

export type { Interest, Routed };

let loading: Promise<typeof import('./decode.ts')> | undefined;

/** Loads it once: importing what is loaded still takes its time for each file. */
function decoder(): Promise<typeof import('./decode.ts')> {
  loading ??= import('./decode.ts');
  return loading;
}

/** The states that have one directory for the whole spool. */
export const PLAIN_STATES = ['tmp', 'new', 'hold', 'corrupt'] as const;
/** The states that have one directory per handler. */
export const HANDLER_STATES = ['queue', 'failed'] as const;

/** Why link(2) may refuse where a copy works: other file system, protected_hardlinks, too many links, not supported. */
const LINK_REFUSED = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EACCES']);

/** A file in a spool: which state, whose queue, what name. */
export interface SpoolFile {
  readonly state: (typeof PLAIN_STATES)[number] | (typeof HANDLER_STATES)[number];
  readonly handler?: string;
  readonly name: string;
  readonly path: string;
}

export class Spool {
  readonly root: string;
  readonly disk: Disk;
  /** Whose command moves files, for `F.why.json`. */
  readonly by: string;

  constructor(root: string, options: { disk?: Disk; by?: string } = {}) {
    this.root = root;
    this.disk = options.disk ?? realDisk;
    this.by = options.by ?? 'dsac';
  }

  /** The directory of a state, or of a handler's share of it. */
  directory(state: SpoolFile['state'], handler?: string): string {
    return handler === undefined ? join(this.root, state) : join(this.root, state, handler);
  }

  /** Makes the directories that every spool has. */
  async create(): Promise<void> {
    for (const state of [...PLAIN_STATES, ...HANDLER_STATES]) await this.disk.mkdir(this.directory(state));
  }

  /** Puts a file's bytes durably into `tmp`, where nothing reads them: the first half of entering. */
  async stage(name: string, bytes: Uint8Array): Promise<void> {
    await this.disk.write(join(this.directory('tmp'), name), bytes);
    await this.disk.sync(this.directory('tmp'));
  }

  /** Moves a staged file into `new`. False when it is not in `tmp`: an earlier try has moved it. */
  async publish(name: string): Promise<boolean> {
    const moved = await moveFile(this.disk, join(this.directory('tmp'), name), this.directory('new'), name);
    await this.disk.sync(this.directory('new'));
    return moved !== undefined;
  }

  /** Writes and publishes: when it resolves, the file survives a power cut. Its name in `tmp` need not, as nobody comes back to it. */
  async enter(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.directory('tmp'), name);
    await this.disk.write(path, bytes);
    if (!(await this.publish(name))) throw new DsacError('io', `${path} was taken away while it was written`);
  }

  /** Removes what a crash left half-written in `tmp` under names that start with `prefix`. Only for who alone writes such names. */
  async sweep(prefix: string, keep: ReadonlySet<string>): Promise<void> {
    for await (const name of this.disk.list(this.directory('tmp'))) {
      if (name.startsWith(prefix) && !keep.has(name))
        await unlessDone(this.disk.unlink(join(this.directory('tmp'), name)), 'ENOENT');
    }
  }

  /** The file's batches and damage, unfolded when its name ends in `.zst`. */
  async open(path: string, signatures: Signatures = 'verified'): Promise<Decoded[]> {
    try {
      const stored = await this.disk.read(path, MAX_UNFOLDED);
      const { decodeStored } = await decoder();
      return await decodeStored(path, stored, signatures);
    } catch (error) {
      if (errorCode(error) !== TOO_LARGE) throw error;
      return [{ damage: { offset: 0, bytes: Buffer.alloc(0), reason: reasonOf(error) } }];
    }
  }

  /** Batch files in one directory, streamed in no order. */
  async *files(state: SpoolFile['state'], handler?: string): AsyncGenerator<SpoolFile> {
    const directory = this.directory(state, handler);
    for await (const name of this.disk.list(directory)) {
      if (isShown(state, name))
        yield { state, name, path: join(directory, name), ...(handler === undefined ? {} : { handler }) };
    }
  }

  /** The handlers that have a directory in `queue` or `failed`, configured or not. */
  async handlers(state: (typeof HANDLER_STATES)[number]): Promise<string[]> {
    try {
      const entries = await readdir(this.directory(state), { withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  /** Every batch file in the spool, state by state, `tmp` left out. */
  async *everything(): AsyncGenerator<SpoolFile> {
    for (const state of ['new', 'hold', 'corrupt'] as const) yield* this.files(state);
    for (const state of HANDLER_STATES)
      for (const handler of await this.handlers(state)) yield* this.files(state, handler);
  }

  /** Gives every file in `new` to the handlers that want it (route.ts). */
  async route(interests: readonly Interest[], options?: RouteOptions): Promise<Routed> {
    const { route } = await import('./route.ts');
    return route(this, interests, options);
  }

  /** Moves a damaged file to `corrupt` with its reason. */
  async quarantine(file: SpoolFile, reason: string): Promise<string> {
    return this.#setAside(file, 'corrupt', undefined, { reason });
  }

  /** Keeps bytes that arrived from outside and are not a batch: written to `corrupt` with their reason. */
  async quarantineBytes(name: string, bytes: Uint8Array, reason: string): Promise<string> {
    return this.keepBytes('corrupt', name, bytes, reason);
  }

  /** Sets bytes aside as a file of their own with their reason. Where that directory has them under this name, that is the file. */
  async keepBytes(
    state: 'corrupt' | 'hold',
    name: string,
    bytes: Uint8Array,
    reason: string,
  ): Promise<string> {
    const there = await sameFile(this.disk, this.directory(state), name, bytes);
    if (there !== undefined) return there;
    await this.stage(name, bytes);
    return this.#setAside({ state: 'tmp', name, path: join(this.directory('tmp'), name) }, state, undefined, {
      reason,
    });
  }

  /** Gives up on delivering a file: it goes to `failed/<handler>` with its reason. */
  async fail(file: SpoolFile, handler: string, why: { reason: string; attempts?: number }): Promise<string> {
    return this.#setAside(file, 'failed', handler, why);
  }

  /** Takes a file out of the flow until a person releases it. One that is on hold stays there, with the reason that it has. */
  async hold(file: SpoolFile, reason: string): Promise<string> {
    if (file.state === 'hold') return file.path;
    return this.#setAside(file, 'hold', undefined, { reason });
  }

  /** The file is delivered: its name in the handler's queue goes. */
  async delivered(file: SpoolFile): Promise<void> {
    await unlessDone(this.disk.unlink(file.path), 'ENOENT');
  }

  /** Takes one batch out of a segment into a file of its own beside it, so that the segment can leave its queue. */
  async divide(segment: SpoolFile, name: string, bytes: Uint8Array): Promise<SpoolFile> {
    const directory = dirname(segment.path);
    const temporary = `divide.${segment.handler}.${name}`;
    await this.stage(temporary, bytes);
    const as = await moveFile(this.disk, join(this.directory('tmp'), temporary), directory, name);
    if (as === undefined) throw new DsacError('io', `${temporary} was taken away while it was written`);
    await this.disk.sync(directory);
    return { ...segment, name: as, path: join(directory, as) };
  }

  /** Hands a file from `failed/<handler>` back to that handler's queue. */
  async requeue(file: SpoolFile): Promise<void> {
    if (file.state !== 'failed' || file.handler === undefined) {
      throw new DsacError(
        'usage',
        `requeue ${file.name}: it lies in '${file.state}', only files in 'failed' can be requeued`,
        {
          hint: file.state === 'hold' ? 'use dsac spool release' : undefined,
        },
      );
    }
    await this.#back(file, this.directory('queue', file.handler));
  }

  /** Hands a file from `hold` or `corrupt` back to `new`, to be routed: what is still wrong with it is found again. */
  async release(file: SpoolFile): Promise<void> {
    if (file.state !== 'hold' && file.state !== 'corrupt') {
      throw new DsacError(
        'usage',
        `release ${file.name}: it lies in '${file.state}', only files in 'hold' or 'corrupt' can be released`,
        {
          hint: file.state === 'failed' ? 'use dsac spool requeue' : undefined,
        },
      );
    }
    await this.#back(file, this.directory('new'));
  }

  async #back(file: SpoolFile, directory: string): Promise<void> {
    const { whyName } = await import('./why.ts');
    await this.disk.mkdir(directory);
    try {
      // Not renamed: another command may hand back the other half of a fork at the same time, and a rename would replace it.
      await linkFile(this.disk, file.path, directory);
      await this.disk.sync(directory);
      await unlessDone(this.disk.unlink(file.path), 'ENOENT');
    } catch (error) {
      if (isMissing(error)) return;
      const code = errorCode(error) ?? '';
      if (code !== 'ENOSPC' && !LINK_REFUSED.has(code)) throw error;
      await moveFile(this.disk, file.path, directory, file.name);
      await this.disk.sync(directory);
    }
    await unlessDone(this.disk.unlink(join(dirname(file.path), whyName(file.name))), 'ENOENT');
  }

  async #setAside(
    file: SpoolFile,
    state: 'corrupt' | 'failed' | 'hold',
    handler: string | undefined,
    why: { reason: string; attempts?: number },
  ): Promise<string> {
    const { writeWhy } = await import('./why.ts');
    const directory = this.directory(state, handler);
    await this.disk.mkdir(directory);
    const name = await freeName(this.disk, directory, file.name);
    const from = file.handler === undefined ? file.state : `${file.state}/${file.handler}`;
    await writeWhy(this.disk, directory, name, {
      time: new Date().toISOString(),
      by: this.by,
      from,
      ...(handler === undefined ? {} : { handler }),
      ...why,
    });
    await unlessDone(this.disk.rename(file.path, join(directory, name)), 'ENOENT');
    await this.disk.sync(directory);
    return join(directory, name);
  }

  /**
   * Takes over a file of another spool: a hard link where both are on one file system, else a copy. Taking the same bytes again changes
   * nothing; other bytes under a name that is still here (a fork of the stream) are kept beside it. It is durable once `settle` resolves.
   */
  async adopt(path: string): Promise<void> {
    try {
      await linkFile(this.disk, path, this.directory('new'));
    } catch (error) {
      if (!LINK_REFUSED.has(errorCode(error) ?? '')) throw error;
      await this.enter(basename(path), await this.disk.read(path));
    }
  }

  /** Makes the names of all that was adopted so far durable. */
  async settle(): Promise<void> {
    await this.disk.sync(this.directory('new'));
  }
}
