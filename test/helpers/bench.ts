/** A node on a bench: a home of its own, a clock the test moves, and agents that run as `dsac agent` runs them. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import { System } from '../../src/host/system.ts';
import { silentLog } from '../../src/log.ts';
import type { Agent } from '../../src/plugin/agent.ts';
import { collect } from '../../src/run/collect.ts';
import { createIdentity, loadIdentity } from '../../src/run/identity.ts';
import type { AgentOutcome } from '../../src/run/receipt.ts';
import { originOf } from '../../src/run/stream.ts';
import type { Batch, BatchEvent } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { DEFAULT_QUOTA, type Quota } from '../../src/spool/quota.ts';
import { Spool } from '../../src/spool/spool.ts';
import { temporary } from './tree.ts';

export interface RunOptions {
  readonly onlyDue?: boolean;
  readonly timeoutMs?: number;
  readonly options?: unknown;
}

export class Bench {
  readonly paths: Paths;
  readonly spool: Spool;
  now = new Date('2026-11-24T10:00:00.000Z');
  /** How often an inventory is sent whole. */
  snapshotMs = 86_400_000;
  host = 'bench';
  /** Which build of DSAC runs. */
  build = 'one';
  /** The tree that agents look at. */
  rootfs = '/';

  /** How much the spool may hold. */
  quota: Quota = DEFAULT_QUOTA;
  /** Most bytes of an inventory's batch. */
  batchBytes: number | undefined;

  constructor(t: TestContext, home: string = temporary(t)) {
    this.paths = pathsBelow(home);
    this.spool = new Spool(this.paths.out);
  }

  /** Runs one agent and answers how it fared. */
  async run(agent: Agent, options: RunOptions = {}): Promise<AgentOutcome> {
    mkdirSync(this.paths.etc, { recursive: true });
    await createIdentity(this.paths);
    await this.spool.create();
    const system = new System(this.rootfs);
    const run = {
      origin: await originOf(system, await loadIdentity(this.paths), this.host),
      paths: this.paths,
      spool: this.spool,
      system,
      build: this.build,
      snapshotMs: this.snapshotMs,
      log: silentLog,
      clock: () => this.now,
      signal: new AbortController().signal,
      onlyDue: options.onlyDue ?? false,
      quota: this.quota,
      ...(this.batchBytes && { batchBytes: this.batchBytes }),
    };
    const parsed = agent.options.parse(options.options ?? {});
    const task = {
      name: agent.name,
      load: async () => agent,
      options: parsed,
      settings: { options: parsed, sources: Object.keys(agent.sources) },
      everyMs: 3_600_000,
      timeoutMs: options.timeoutMs ?? 60_000,
    };
    return (await collect(run, [task]))[0]!;
  }

  /** Moves the clock. */
  later(ms: number): void {
    this.now = new Date(this.now.getTime() + ms);
  }

  /** The batches of an agent that wait in the spool, in order. */
  batches(agent: string): Batch[] {
    return readdirSync(join(this.paths.out, 'new'))
      .filter((name) => name.startsWith(`${agent}.`))
      .sort()
      .map((name) => [...decode(readFileSync(join(this.paths.out, 'new', name)))][0]!.batch!);
  }

  /** All events of an agent that wait in the spool, in order. */
  events(agent: string): BatchEvent[] {
    return this.batches(agent).flatMap((batch) => [...batch.events()]);
  }
}
