/** What a centre has to show: an archive whose batches came through its gate, and a verification of it. */
import assert from 'node:assert/strict';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Archive } from '../../src/archive/archive.ts';
import { silentLog } from '../../src/log.ts';
import { type Identity, loadIdentity } from '../../src/run/identity.ts';
import type { Finding } from '../../src/run/verify/findings.ts';
import { type Verification, type Verified, verifyEvidence } from '../../src/run/verify/verify.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { FakeNode, plainEvent } from './batches.ts';
import { Centre } from './centre.ts';

export const OTHER = '7a2c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b11';

/** A centre whose batches went through its gate into an archive of two segments. */
export class Evidence {
  readonly centre: Centre;
  readonly root: string;
  readonly node = new FakeNode();
  readonly other = new FakeNode(OTHER, 'web2');
  #identity: Identity | undefined;

  constructor(t: TestContext) {
    this.centre = new Centre(t);
    this.root = join(this.centre.paths.lib, 'archive');
  }

  /** Takes batches through the gate and keeps them as one segment. */
  async keep(...batches: Batch[]): Promise<void> {
    // Segments are named by the time, and read in the order of their names.
    this.centre.now = new Date(this.centre.now.getTime() + 1000);
    await this.centre.enter(...batches);
    await this.centre.route();
    await this.spread(...batches);
    for await (const file of this.centre.spool.files('queue', 'all')) await this.centre.spool.delivered(file);
  }

  /** Keeps batches as one segment, past the gate. */
  async spread(...batches: Batch[]): Promise<void> {
    const archive = await Archive.open(this.root, silentLog, () => this.centre.now);
    await archive.keep(batches);
    archive.close();
  }

  /** Two nodes, three streams, two segments. */
  async fill(): Promise<void> {
    const { node, other } = this;
    await this.keep(node.next('logins', 'log', [plainEvent(1)]), node.next('logins', 'log', []));
    await this.keep(
      node.next('logins', 'log', []),
      other.next('logins', 'log', []),
      other.next('users', 'log', []),
    );
  }

  get segments(): string[] {
    return globSync('*/*/*/*.jsonl.zst', { cwd: this.root })
      .sort()
      .map((name) => join(this.root, name));
  }

  get heads(): string {
    return join(this.centre.paths.lib, 'heads/2026-11.jsonl');
  }

  async verify(task: Partial<Verification> = {}): Promise<{ found: Finding[]; all: Verified }> {
    const found: Finding[] = [];
    const { paths } = this.centre;
    this.#identity ??= await loadIdentity(paths);
    const all = await verifyEvidence(
      {
        paths,
        files: [],
        archive: { root: this.root, expects: () => true },
        centre: this.#identity,
        signal: new AbortController().signal,
        ...task,
      },
      (finding) => void found.push(finding),
    );
    return { found, all };
  }

  /** The findings as `kind agent seq`, sorted. */
  async kinds(task: Partial<Verification> = {}): Promise<string[]> {
    const { found } = await this.verify(task);
    return found
      .map(({ kind, agent, seq }) => [kind, agent, seq].filter((part) => part !== undefined).join(' '))
      .sort();
  }

  /** Rewrites a segment's batches; the index is made anew, as one would who has something to hide. */
  rewrite(segment: string, change: (batches: Batch[]) => Buffer[]): void {
    writeFileSync(segment, zstdCompressSync(Buffer.concat(change(batchesIn(segment)))));
    this.forgetIndex();
  }

  forgetIndex(): void {
    for (const name of globSync('index.db*', { cwd: this.root })) rmSync(join(this.root, name));
  }
}

export async function filled(t: TestContext): Promise<Evidence> {
  const evidence = new Evidence(t);
  await evidence.fill();
  assert.deepEqual((await evidence.verify()).found, []);
  return evidence;
}

export function batchesIn(segment: string): Batch[] {
  return [...decode(zstdDecompressSync(readFileSync(segment)))].map(({ batch }) => batch!);
}
