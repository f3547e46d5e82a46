import assert from 'node:assert/strict';
import { test } from 'node:test';
import template from '../../processors/_template.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { handlerConformance } from '../suites/handler.ts';

handlerConformance(template, {
  folder: 'processors',
  registered: false,
  destination: () => ({ options: {} }),
});

test('processor template: one batch that is refused does not take others with it', async (t) => {
  const counter = new Counter(t);
  const node = new FakeNode();
  const batches = [
    node.next('a', 'log', [plainEvent(1), plainEvent(2)]),
    node.next('a', 'log', [plainEvent(3)]),
  ];
  const session = await counter.open(template, { most: 1 });
  const answers = await session.deliver(await counter.files(...batches));
  assert.deepEqual(answers, [
    { status: 'rejected', reason: '2 events, more than 1' },
    { status: 'delivered' },
  ]);
});
