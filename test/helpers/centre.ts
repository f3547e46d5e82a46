/** A centre's door: its spool, its gate, and batches put before it. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import type { Trust } from '../../src/config/schema.ts';
import type { HeadsRecord } from '../../src/evidence/heads.ts';
import { silentLog } from '../../src/log.ts';
import { CentralGate } from '../../src/run/gate.ts';
import { createIdentity } from '../../src/run/identity.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { realDisk } from '../../src/spool/disk.ts';
import { batchFile } from '../../src/spool/names.ts';
import type { Routed } from '../../src/spool/route.ts';
import { Spool } from '../../src/spool/spool.ts';
import { temporary } from './tree.ts';

export class Centre {
  readonly paths: Paths;
  readonly spool: Spool;
  now = new Date('2026-11-25T10:00:00.000Z');

  constructor(t: TestContext) {
    this.paths = pathsBelow(temporary(t));
    this.spool = new Spool(this.paths.in, { by: 'test', disk: { ...realDisk } });
  }

  /** Puts each batch into the spool as a file of its own. */
  async enter(...batches: Batch[]): Promise<void> {
    await this.spool.create();
    for (const batch of batches) await this.spool.enter(batchFile(batch.header), batch.bytes);
  }

  /** Puts batches into the spool as one segment. */
  async segment(name: string, ...batches: Batch[]): Promise<void> {
    await this.spool.create();
    await this.spool.enter(`segment.${name}.jsonl`, Buffer.concat(batches.map(({ bytes }) => bytes)));
  }

  gate(trust: Trust = 'first-contact'): CentralGate {
    return new CentralGate({ paths: this.paths, trust, log: silentLog, clock: () => this.now });
  }

  /** Routes what is new through a gate, as one run of `dsac process` does; what is entered again goes with it. */
  async route(trust: Trust = 'first-contact'): Promise<Routed> {
    mkdirSync(this.paths.etc, { recursive: true });
    await createIdentity(this.paths);
    const done = await this.spool.route([{ handler: 'all', wants: () => true }], { gate: this.gate(trust) });
    await this.spool.route([{ handler: 'all', wants: () => true }], { gate: this.gate(trust) });
    return done;
  }

  /** What lies in a directory of the spool, as agent and number: `logins 3`. */
  async in(directory: 'queue/all' | 'hold' | 'corrupt' | 'new'): Promise<string[]> {
    const path = join(this.spool.root, directory);
    const found: string[] = [];
    for (const name of existsSync(path) ? readdirSync(path) : []) {
      if (name.endsWith('.why.json')) continue;
      for (const { batch } of await this.spool.open(join(path, name)))
        found.push(batch ? `${batch.header.agent} ${batch.header.seq}` : 'damage');
    }
    return found.sort();
  }

  /** The reasons beside the files of a directory. */
  reasons(directory: 'hold' | 'corrupt'): string[] {
    const path = join(this.spool.root, directory);
    return readdirSync(path)
      .filter((name) => name.endsWith('.why.json'))
      .map((name) => JSON.parse(readFileSync(join(path, name), 'utf8')).reason);
  }

  /** Hands everything in `hold` and `corrupt` back. */
  async release(): Promise<void> {
    for (const state of ['hold', 'corrupt'] as const)
      for await (const file of this.spool.files(state)) await this.spool.release(file);
  }

  /** The lines of known_nodes as node, key and how; without times. */
  known(): string[] {
    return readFileSync(join(this.paths.lib, 'trust/known_nodes'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split(' ').slice(1).join(' '));
  }

  /** The records of the countersigned heads, file by file. */
  heads(): HeadsRecord[] {
    const folder = join(this.paths.lib, 'heads');
    return readdirSync(folder)
      .sort()
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n'))
      .map((line) => JSON.parse(line));
  }
}
