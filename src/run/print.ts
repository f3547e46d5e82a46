/** Shows what agents collect, all of it, without a spool or a baseline. */
import { createHmac, randomBytes } from 'node:crypto';
import { System } from '../host/system.ts';
import type { Log } from '../log.ts';
import type { AgentContext } from '../plugin/agent.ts';
import type { BatchEvent } from '../spool/batch.ts';
import type { Task } from './agent-run.ts';
import { snapshotEvents } from './diff.ts';
import { outcomeOf, readInventory, readStretches, type SourceOutcome } from './sources.ts';

export interface PrintRun {
  readonly rootfs: string | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly now: Date;
  write(text: string): Promise<void>;
}

async function* collected(task: Task, run: PrintRun, sources: SourceOutcome[]): AsyncGenerator<BatchEvent> {
  const secret = randomBytes(32);
  const context: AgentContext = {
    options: task.options,
    system: new System(run.rootfs),
    log: run.log,
    signal: run.signal,
    now: run.now,
    // A throw-away key: what is printed must not be comparable with what is sent.
    digest: (text) => createHmac('sha256', secret).update(text).digest('hex').slice(0, 32),
    restsOn() {},
  };
  const agent = await task.load();
  if (agent.type === 'inventory') {
    const read = await readInventory(agent, () => context, new Map());
    sources.push(...read.sources);
    yield* snapshotEvents(read.items, run.now.toISOString());
    return;
  }
  for (const name of Object.keys(agent.sources)) {
    try {
      for await (const { events } of readStretches(agent, name, context, undefined)) yield* events;
      sources.push({ name, status: 'ok' });
    } catch (error) {
      sources.push(outcomeOf(name, error));
    }
  }
}

/** Prints every event as one JSON line; answers the sources that could not be read, named `agent/source`. */
export async function printAgent(
  tasks: readonly Task[],
  run: PrintRun,
): Promise<{ name: string; status: string; reason: string | undefined }[]> {
  const unread: { name: string; status: string; reason: string | undefined }[] = [];
  for (const task of tasks) {
    const sources: SourceOutcome[] = [];
    for await (const event of collected(task, run, sources)) await run.write(`${JSON.stringify(event)}\n`);
    for (const { name, status, reason } of sources)
      if (status !== 'ok') unread.push({ name: `${task.name}/${name}`, status, reason });
  }
  return unread;
}
