/** What the `exec` dispatcher and the `exec` processor have in common: the contract of an executable in any language. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type Answer, DestinationDown, type Handler, type Parcel } from '../../src/plugin/handler.ts';
import { decode } from '../../src/spool/decode.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from './handler.ts';

/** A shell script in a folder that only we can write. */
function script(t: TestContext, body: string, mode = 0o755): string {
  const path = join(temporary(t), 'take');
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode });
  return path;
}

async function oneBatch(counter: Counter): Promise<Parcel[]> {
  return counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
}

/** Whether a process is gone, or dead and not yet reaped; waits a little, since a signal takes its time. */
async function ended(pid: string): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
    if (stat === '' || / Z /.test(stat)) return true;
    await setImmediate();
  }
  return false;
}

/** Calls the shared tests and those of the contract. */
export function execConformance<O>(handler: Handler<O>, folder: 'dispatchers' | 'processors'): void {
  const about = (rule: string): string => `${folder} exec: ${rule}`;

  handlerConformance(handler, {
    folder,
    destination: (t) => {
      const files = temporary(t);
      const arrived = async (): Promise<string[]> =>
        readdirSync(files).map(
          (name) => [...decode(readFileSync(join(files, name)))][0]!.batch!.trailer.sha256,
        );
      return { options: { command: [script(t, 'cat > "$1/$DSAC_BATCH_ID"'), files] }, arrived };
    },
  });

  test(about('the exit status and the first line of stderr make the answer'), async (t) => {
    const counter = new Counter(t);
    const parcels = await oneBatch(counter);
    const cases: [body: string, answer: Answer][] = [
      ['exit 0', { status: 'delivered' }],
      [
        'echo "full for now" >&2; echo more >&2; exit 75',
        { status: 'deferred', reason: 'exit 75: full for now' },
      ],
      ['printf "no \\377 such" >&2; exit 1', { status: 'rejected', reason: 'exit 1: no \\xff such' }],
      ['kill -SEGV $$', { status: 'deferred', reason: 'killed by SIGSEGV' }],
    ];
    for (const [body, answer] of cases) {
      const session = await counter.open(handler, { command: [script(t, body)] });
      assert.deepEqual(await session.deliver(parcels), [answer], body);
    }
  });

  test(about('the environment names the batch'), async (t) => {
    const counter = new Counter(t);
    const [parcel] = await oneBatch(counter);
    const file = join(temporary(t), 'env');
    const session = await counter.open(handler, {
      command: [script(t, 'env | grep ^DSAC_ | sort > "$1"'), file],
    });
    await session.deliver([parcel!]);
    const { node, agent, epoch, seq, kind, id } = parcel!.batch.header;
    const named = readFileSync(file, 'utf8').split('\n');
    for (const line of [
      `NODE=${node}`,
      `AGENT=${agent}`,
      `EPOCH=${epoch}`,
      `SEQ=${seq}`,
      `KIND=${kind}`,
      `BATCH_ID=${id}`,
    ])
      assert.ok(named.includes(`DSAC_${line}`), line);
  });

  test(about('one that hangs is ended at its timeout, with what it had started'), async (t) => {
    const counter = new Counter(t);
    const file = join(temporary(t), 'pid');
    const command = [script(t, 'sleep 60 & echo $! > "$1"; wait'), file];
    const session = await counter.open(handler, { command, timeout: '2s' });
    const [answer] = await session.deliver(await oneBatch(counter));
    assert.deepEqual(answer, { status: 'deferred', reason: 'no end within 2 s' });
    assert.ok(await ended(readFileSync(file, 'utf8').trim()), 'a process of its group lived on');
  });

  test(about('when the run is told to stop, no batch is blamed'), async (t) => {
    const counter = new Counter(t);
    const parcels = await oneBatch(counter);
    const session = await counter.open(handler, { command: [script(t, 'sleep 60')] });
    counter.signal.abort();
    await assert.rejects(session.deliver(parcels), DestinationDown);
  });

  test(about('one that does not read its input is no error'), async (t) => {
    const counter = new Counter(t);
    const events = Array.from({ length: 5000 }, (_, n) => plainEvent(n));
    const parcels = await counter.files(new FakeNode().next('logins', 'log', events));
    const session = await counter.open(handler, { command: [script(t, 'exit 0')] });
    assert.deepEqual(await session.deliver(parcels), [{ status: 'delivered' }]);
  });

  test(about('one that others may change is not run'), async (t) => {
    const mark = join(temporary(t), 'ran');
    const command = [script(t, 'touch "$1"'), mark];
    chmodSync(command[0]!, 0o777);
    await assert.rejects(new Counter(t).open(handler, { command }), /writable by others/);
    assert.ok(!existsSync(mark));
  });
}
