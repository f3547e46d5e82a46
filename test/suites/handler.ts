/** What every dispatcher and processor must keep to. Each one's test calls this with its own plugin and a destination that works. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { nameSchema } from '../../src/config/name.ts';
import { DestinationDown, type Handler } from '../../src/plugin/handler.ts';
import { hasPlugin } from '../../src/plugin/registry.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';

/** A destination: options that lead to it, and what has arrived there. */
export interface Arrivals {
  readonly options: unknown;
  /** The sha256 of each batch that is there, in any order. Absent for a handler that keeps nothing. */
  arrived?(): Promise<string[]>;
}

export interface HandlerCase {
  readonly folder: 'dispatchers' | 'processors';
  /** Makes a destination that works. */
  destination(t: TestContext, counter: Counter): Arrivals | Promise<Arrivals>;
  /** Options for a destination that is not there; absent where there is always one. */
  down?(t: TestContext, counter: Counter): unknown;
  /** False where a batch that is handed over twice arrives twice, and who takes it from there keeps one. */
  readonly keepsOne?: boolean;
  /** False for the template, which is not a plugin of the registry. */
  readonly registered?: boolean;
  /** Why the tests that need the destination are left out. */
  readonly skip?: string | false;
}

/** Each option that a person may write, those inside others too. */
function* optionsOf(schema: unknown, path = ''): Generator<[name: string, schema: z.ZodType]> {
  if (schema instanceof z.ZodOptional) yield* optionsOf(schema.unwrap(), path);
  if (!(schema instanceof z.ZodObject)) return;
  for (const [key, inner] of Object.entries(schema.shape as Record<string, z.ZodType>)) {
    yield [`${path}${key}`, inner];
    yield* optionsOf(inner, `${path}${key}.`);
  }
}

/** The tests that hold for any handler. */
export function handlerConformance<O>(handler: Handler<O>, given: HandlerCase): void {
  const { folder, destination, down } = given;
  const about = (rule: string): string => `${folder.slice(0, -1)} ${handler.name}: ${rule}`;
  const needed = { skip: given.skip ?? false };

  test(about('is called as its file, and says what it does in one phrase'), () => {
    nameSchema.parse(handler.name);
    if (given.registered !== false) assert.ok(hasPlugin(folder, handler.name));
    assert.match(handler.summary, /^\P{Lu}.{8,100}[^.]$/u, 'lower case, no full stop');
  });

  test(about('explains every option'), () => {
    const unexplained = [...optionsOf(handler.options)].filter(([, schema]) => !schema.description);
    assert.deepEqual(
      unexplained.map(([name]) => name),
      [],
    );
  });

  test(about('takes its options and refuses unknown ones'), needed, async (t) => {
    const { options } = await destination(t, new Counter(t));
    handler.options.parse(options);
    assert.throws(
      () => handler.options.parse({ ...(options as object), 'no-such-option': 1 }),
      /no-such-option/,
    );
  });

  test(about('answers for each batch, and what it answers for has arrived'), needed, async (t) => {
    const counter = new Counter(t);
    const node = new FakeNode();
    const batches = [1, 2, 3, 4, 5].map((n) => node.next(n % 2 ? 'logins' : 'users', 'log', [plainEvent(n)]));
    const { options, arrived } = await destination(t, counter);
    const session = await counter.open(handler, options);
    const answers = await session.deliver(await counter.files(...batches));
    assert.deepEqual(
      answers.map(({ status }) => status),
      batches.map(() => 'delivered'),
    );
    if (arrived)
      assert.deepEqual((await arrived()).sort(), batches.map(({ trailer }) => trailer.sha256).sort());
  });

  test(about('delivers the batches of a segment one by one'), needed, async (t) => {
    const counter = new Counter(t);
    const node = new FakeNode();
    const batches = [1, 2, 3].map((n) => node.next('logins', 'log', [plainEvent(n)]));
    const { options, arrived } = await destination(t, counter);
    const session = await counter.open(handler, options);
    const [, second] = await counter.segment(...batches);
    assert.deepEqual(await session.deliver([second!]), [{ status: 'delivered' }]);
    if (arrived)
      assert.deepEqual(await arrived(), [second!.batch.trailer.sha256], 'the others of the segment came too');
  });

  test(about('takes a batch that comes again after a crash'), needed, async (t) => {
    const counter = new Counter(t);
    const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
    const { options, arrived } = await destination(t, counter);
    for (let time = 0; time < 2; time++) {
      const session = await counter.open(handler, options);
      assert.deepEqual(await session.deliver(parcels), [{ status: 'delivered' }]);
    }
    if (arrived) assert.equal((await arrived()).length, given.keepsOne === false ? 2 : 1);
  });

  if (!down) return;
  test(about('says that its destination is down, and blames no batch for it'), async (t) => {
    const counter = new Counter(t);
    const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
    const options = await down(t, counter);
    await assert.rejects(async () => {
      const session = await counter.open(handler, options);
      await session.deliver(parcels);
    }, DestinationDown);
  });
}
