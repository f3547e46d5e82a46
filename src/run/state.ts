/**
 * What an agent remembers between runs, and the commit that moves it (promise P1). `state.json` is the commit point and the redo
 * record in one: it names the batches, already durable in the spool's `tmp`, that must still be moved to `new`, and the baseline file that
 * belongs to them. What a crash leaves before it is swept; what it leaves after it is finished by the next run, with the same bytes.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DsacError, reasonOf } from '../errors.ts';
import { type Disk, readIfThere, replace, unlessDone } from '../spool/disk.ts';
import type { Spool } from '../spool/spool.ts';
import { isState } from './known-state.ts';
import type { AgentState, BaselineItem } from './shapes.ts';

export type { AgentState, BaselineItem, Basis } from './shapes.ts';

function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What a state ends with: the digest of all before it, as if it ended there. */
const SEAL = /,"sha256":"([0-9a-f]{64})"\}\n$/;

/** A state as it is written: one letter of it may be a source's name or a cursor's time, which nobody would miss. */
function sealed(state: AgentState): Buffer {
  const text = JSON.stringify(state);
  return Buffer.from(`${text.slice(0, -1)},"sha256":"${sha256(text)}"}\n`);
}

/** The JSON of a state as it was before it was sealed; one that bears no seal as it is. Throws when it is not what was sealed. */
function unsealed(text: string): string {
  const seal = SEAL.exec(text);
  if (seal === null) return text;
  const state = `${text.slice(0, seal.index)}}`;
  if (sha256(state) !== seal[1]) throw new Error('not as it was written');
  return state;
}

/** How many batches that may come back are remembered. */
const MOST_ASTRAY = 1000;

function takenAway(path: string): DsacError {
  return new DsacError('io', `${path} was taken away while it was written to`, {
    hint: 'nothing is lost as long as it comes back: is its file system mounted?',
  });
}

export type Baseline = Map<string, BaselineItem>;

/** A batch ready to be committed: its file name in the spool and its bytes. */
export interface SpooledBatch {
  readonly name: string;
  readonly bytes: Buffer;
}

/** The state on disk of one agent on one node. The caller holds the agent's lock. */
export class AgentStore {
  readonly directory: string;
  readonly #disk: Disk;
  readonly #spool: Spool;
  /** `<agent>.<node>.`: how the names of this agent's batches start. */
  readonly #prefix: string;
  /** Inode of `tmp` when the first of the batches was staged that the next commit names. */
  #stagedIn: number | undefined;

  constructor(directory: string, spool: Spool, prefix: string) {
    this.directory = directory;
    this.#spool = spool;
    this.#disk = spool.disk;
    this.#prefix = prefix;
  }

  get #file(): string {
    return join(this.directory, 'state.json');
  }

  /** The state, after finishing or undoing what a crash left half-done. Undefined when there is none. */
  async recover(): Promise<AgentState | undefined> {
    await this.#disk.mkdir(this.directory);
    const read = await this.#read();
    await this.#spool.sweep(this.#prefix, new Set([...(read?.pending ?? []), ...(read?.astray ?? [])]));
    const state = read && { ...read, astray: await this.#publishLeft(read) };
    for await (const name of this.#disk.list(this.directory)) {
      const stale = name.startsWith('baseline.') && name !== state?.baseline;
      if (stale) await unlessDone(this.#disk.unlink(join(this.directory, name)), 'ENOENT');
    }
    return state;
  }

  /**
   * Moves what is committed and still lies in `tmp` to `new`; answers what may yet have to be. What is not there an earlier try has moved, unless this
   * is not the `tmp` that it was written to: a file system that is away, or was.
   */
  async #publishLeft({ pending, staged_in, astray }: AgentState): Promise<string[]> {
    const before = await this.#tmpInode();
    const missing: string[] = [];
    for (const name of pending) if (!(await this.#spool.publish(name))) missing.push(name);
    const after = await this.#tmpInode();
    const left = staged_in === null || (before === staged_in && after === staged_in) ? [] : missing;
    for (const name of astray) if (!(await this.#spool.publish(name))) left.push(name);
    return left.slice(0, MOST_ASTRAY);
  }

  async #tmpInode(): Promise<number | undefined> {
    return (await this.#disk.stat(this.#spool.directory('tmp')))?.inode;
  }

  async #read(): Promise<AgentState | undefined> {
    const bytes = await readIfThere(this.#disk, this.#file);
    if (!bytes) return undefined;
    try {
      const value: unknown = JSON.parse(unsealed(bytes.toString()));
      return isState(value) ? value : (await import('./shapes.ts')).stateSchema.parse(value);
    } catch (error) {
      throw new DsacError('data', `${this.#file} is damaged: ${reasonOf(error)}`, {
        cause: error,
        hint: `move ${this.directory} away: the agent then starts a new epoch, which the centre reports`,
      });
    }
  }

  /** The items of the inventory as the state's baseline has them. Throws a `data` error when the file is damaged. */
  async baseline(state: AgentState): Promise<Baseline> {
    const items: Baseline = new Map();
    if (state.baseline === null) return items;
    const path = join(this.directory, state.baseline);
    try {
      const { baselineLine } = await import('./shapes.ts');
      const bytes = await this.#disk.read(path);
      if (sha256(bytes) !== state.baseline_sha256) throw new Error('not as it was written');
      for (const line of bytes.toString().split('\n')) {
        if (line === '') continue;
        const item = baselineLine.parse(JSON.parse(line));
        items.set(item.key, item);
      }
    } catch (error) {
      throw new DsacError('data', `${path} is damaged: ${reasonOf(error)}`, {
        cause: error,
        hint: `move ${this.directory} away: the agent then starts a new epoch, which the centre reports`,
      });
    }
    return items;
  }

  /** Writes a batch durably to where nothing reads it: it counts once a commit names it. */
  async stage({ name, bytes }: SpooledBatch): Promise<void> {
    this.#stagedIn ??= await this.#tmpInode();
    await this.#spool.stage(name, bytes);
  }

  /** Removes what was staged and will not be committed. */
  async unstage(): Promise<void> {
    this.#stagedIn = undefined;
    await this.#spool.sweep(this.#prefix, new Set());
  }

  /**
   * Commits batches, baseline and state together; `staged` names batches that were staged before them. `baseline` is the whole inventory after
   * `state.seq`, or undefined when it has not changed. When it resolves, all of it is durable and the batches are in `new`.
   */
  async commit(
    state: AgentState,
    batches: readonly SpooledBatch[],
    baseline?: Baseline,
    staged: readonly string[] = [],
  ): Promise<AgentState> {
    for (const batch of batches) await this.stage(batch);
    const names = [...staged, ...batches.map(({ name }) => name)];
    const stagedIn = this.#stagedIn;
    this.#stagedIn = undefined;
    if (names.length > 0 && (await this.#tmpInode()) !== stagedIn)
      throw takenAway(this.#spool.directory('tmp'));
    let next: AgentState = { ...state, pending: names, staged_in: stagedIn ?? null };
    if (baseline) {
      const name = `baseline.${state.epoch}.${state.seq}.jsonl`;
      const lines = Array.from(baseline.values(), (item) => `${JSON.stringify(item)}\n`);
      const bytes = Buffer.from(lines.join(''));
      await this.#disk.write(join(this.directory, name), bytes);
      // Its name must be there before the state that names it, whatever order a file system keeps names in.
      await this.#disk.sync(this.directory);
      next = { ...next, baseline: name, baseline_sha256: sha256(bytes) };
    }
    await replace(this.#disk, this.#file, sealed(next));
    for (const name of names)
      if (!(await this.#spool.publish(name))) throw takenAway(join(this.#spool.directory('tmp'), name));
    return next;
  }
}

/** A state before the first run. `epoch` names this life of it: the time, readable, and a random part. */
export function firstState(root: string, epoch: string): AgentState {
  return {
    version: 1,
    root,
    epoch,
    seq: 0,
    head: null,
    ran: null,
    snapshot: null,
    baseline: null,
    baseline_sha256: null,
    known: [],
    cursors: {},
    pending: [],
    staged_in: null,
    astray: [],
    basis: null,
  };
}
