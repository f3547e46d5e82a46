/**
 * A stamp of files: what stat(2) says of each, so that it can be told later, without reading them, that they are what they were. Each change of a
 * file gives it another ctime, which no program can set; a file put in its place has another inode. Only a change within the grain of the file
 * system's clock leaves no trace: a stamp is good once the youngest of its files is older than that.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { isMissing } from '../errors.ts';
import type { System } from './system.ts';

/** What paths stand for, as they were. */
export interface Stamp {
  /**
   * A file; `DIR/*` and `DIR/*.list`, the files in a folder, of such names; `DIR/**`, all below it, folders that links lead to among it. What is not
   * there counts as well.
   */
  readonly paths: readonly string[];
  /** SHA-256 of what stat(2) says of them, hex. */
  readonly sha256: string;
  /** When one of them changed last, ms since 1970; 0 when there are none, infinite when one of them may not be looked at. */
  readonly changed: number;
}

const STAT = { bigint: true, throwIfNoEntry: false } as const;

/** Names in a folder, sorted; undefined when there is no such folder. */
function namesIn(folder: string): readonly string[] | undefined {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Whether a name is of the form `*.list`, `wtmp*` or `*`. */
function matcher(form: string): (name: string) => boolean {
  const [before = '', after = ''] = form.split('*', 2);
  return (name) =>
    name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after);
}

function isDevice(found: BigIntStats): boolean {
  return found.isCharacterDevice() || found.isBlockDevice();
}

/** What is another after any change of a file. A device's times say when it was written to, which is no change of what it is. */
function identity(found: BigIntStats): string {
  const { dev, ino, mode, size, mtimeNs, ctimeNs, rdev } = found;
  return isDevice(found) ? `${mode} ${rdev}` : `${dev} ${ino} ${mode} ${size} ${mtimeNs} ${ctimeNs}`;
}

class Stamping {
  readonly #system: System;
  /** What is to be hashed. */
  #text = '';
  /** Folders that have been gone through, by device and inode: `/lib` may be `/usr/lib`. */
  readonly #walked = new Set<string>();
  #changed = 0n;

  constructor(system: System) {
    this.#system = system;
  }

  async add(path: string): Promise<void> {
    const form = basename(path);
    if (!form.includes('*')) {
      await this.#file(path, await this.#system.path(path));
      return;
    }
    const folder = dirname(path);
    const real = await this.#system.path(folder);
    if (form === '**') {
      await this.#tree(folder, real);
      return;
    }
    const isOfForm = matcher(form);
    const names = namesIn(real);
    this.#say(`${folder}/ ${names !== undefined}`);
    for (const name of names ?? [])
      if (isOfForm(name)) await this.#file(`${folder}/${name}`, `${real}/${name}`);
  }

  end(paths: readonly string[]): Stamp {
    return {
      paths,
      sha256: createHash('sha256').update(this.#text).digest('hex'),
      changed: Number(this.#changed / 1_000_000n),
    };
  }

  #say(text: string): void {
    this.#text += `${text}\0`;
  }

  async #tree(path: string, real: string): Promise<void> {
    const folder = statSync(real, STAT);
    const id = folder && `${folder.dev}:${folder.ino}`;
    this.#say(`${path}/ ${id}`);
    if (id === undefined || this.#walked.has(id)) return;
    this.#walked.add(id);
    for (const name of namesIn(real) ?? [])
      await this.#file(`${path}/${name}`, `${real}/${name}`, 'with what is below');
  }

  /** Adds a file, which it waits for only where there is more to it: of a link, what it leads to, and of a folder what is below it, where that counts. */
  #file(path: string, real: string, how?: 'with what is below'): Promise<void> | undefined {
    const found = lstatSync(real, STAT);
    if (how !== undefined && found?.isDirectory()) return this.#tree(path, real);
    this.#stats(path, found);
    return found?.isSymbolicLink() ? this.#target(path, real, how) : undefined;
  }

  async #target(path: string, real: string, how?: 'with what is below'): Promise<void> {
    const end = await this.#system.path(path);
    const found = statSync(end, STAT);
    this.#stats(readlinkSync(real), found);
    if (how !== undefined && found?.isDirectory()) await this.#tree(path, end);
  }

  #stats(path: string, found: BigIntStats | undefined): void {
    this.#say(path);
    this.#say(found ? identity(found) : '');
    if (found && !isDevice(found) && found.ctimeNs > this.#changed) this.#changed = found.ctimeNs;
  }
}

/** Stamps what `paths` stand for, below the system's root. Never throws: who is to read them will meet what is wrong with them. */
export async function stamp(system: System, paths: readonly string[]): Promise<Stamp> {
  const stamping = new Stamping(system);
  try {
    for (const path of paths) await stamping.add(path);
  } catch {
    return { ...stamping.end(paths), changed: Number.POSITIVE_INFINITY };
  }
  return stamping.end(paths);
}
