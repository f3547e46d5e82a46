import assert from 'node:assert/strict';
import { test } from 'node:test';
import debug from '../../processors/debug.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { handlerConformance } from '../suites/handler.ts';

handlerConformance(debug, { folder: 'processors', destination: () => ({ options: {} }) });

test('debug: one line a batch says whose, which and how much', async (t) => {
  const counter = new Counter(t);
  const session = await counter.open(debug, {});
  await session.deliver(await counter.files(new FakeNode().next('logins', 'log', [plainEvent()])));
  assert.equal(
    counter.printed,
    '2026-11-23T02:00:00.000Z web1 logins log 20261101000000-aaaaaa/1 1 events\n',
  );
});

test('debug: bytes from a node cannot act on the terminal', async (t) => {
  const counter = new Counter(t);
  const evil = { ...plainEvent(), data: { name: 'a\u202Eb', line: '\u2028', title: '\u009b2J' } };
  const node = new FakeNode(undefined, '\x1b]0;owned\x07');
  const session = await counter.open(debug, { show: 'events' });
  await session.deliver(await counter.files(node.next('logins', 'log', [evil])));
  assert.doesNotMatch(counter.printed.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\u2028]/u);
  assert.match(counter.printed, /owned/);
});

test('debug: a malformed event is told, and the next batch is shown', async (t) => {
  const counter = new Counter(t);
  const node = new FakeNode();
  const bad = node.next('logins', 'log', [{ ...plainEvent(), action: 'NOT A NAME' }]);
  const session = await counter.open(debug, { show: 'events' });
  await session.deliver(await counter.files(bad, node.next('logins', 'log', [plainEvent(7)])));
  assert.match(counter.printed, /event 1: action:/);
  assert.match(counter.printed, /happened thing\/7/);
});

test('debug: the tally counts batches and events of each agent and kind', async (t) => {
  const counter = new Counter(t);
  const node = new FakeNode();
  const batches = [
    node.next('users', 'log', [plainEvent(1)]),
    node.next('logins', 'log', [plainEvent(1), plainEvent(2)]),
    node.next('logins', 'log', []),
  ];
  const session = await counter.open(debug, { show: 'tally' });
  await session.deliver(await counter.files(...batches));
  assert.equal(counter.printed, '', 'nothing before the end');
  await session.close();
  assert.equal(counter.printed, 'logins log: 2 batches, 2 events\nusers log: 1 batches, 1 events\n');
});
