/** An SQLite store that its reader may not write: an auditor's copy, or another user's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { openStore } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { dsac, Home } from '../helpers/dsac.ts';
import { temporary } from '../helpers/tree.ts';

const NOBODY = 65_534;
/** Opens the store of a home, and closes it when its standard input ends. */
const READER = `
  const { openStore } = await import('${new URL('../../src/store/store.ts', import.meta.url)}');
  const store = await openStore(undefined, { home: process.argv[1], existing: true });
  process.stdout.write('open');
  for await (const _ of process.stdin);
  await store.close().then(() => process.stdout.write('closed'), ({ kind, message }) => process.stdout.write(kind + ' ' + message));
`;

test('P6: a copy that may only be read is verified and reported from, and no node is retired in it', {
  skip: process.getuid?.() !== 0 && 'left out: only root can run a command as another user',
}, async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('agent', 'packages');
  await home.run('dispatch');
  await home.run('process');
  const copy = temporary(t);
  chmodSync(copy, 0o755);
  cpSync(join(home.path, 'var/lib/dsac'), join(copy, 'var/lib/dsac'), { recursive: true });
  for (const each of readdirSync(copy, { recursive: true, encoding: 'utf8' })) {
    const path = join(copy, each);
    chmodSync(path, statSync(path).isDirectory() ? 0o555 : 0o444);
  }
  const verified = await dsac(['verify', '--home', copy], { uid: NOBODY });
  assert.match(verified.stdout, /^verified 2 batches of 1 nodes, .*: all whole\n/, verified.stderr);
  assert.equal(verified.code, 0);
  const report = await dsac(['report', 'completeness', '--home', copy], { uid: NOBODY });
  assert.match(report.stdout, /^complete: 1 of 1 nodes\n/, report.stderr);
  const retired = await dsac(['node', 'retire', '*', '--home', copy], { uid: NOBODY });
  assert.notEqual(retired.code, 0);
  const [node] = JSON.parse((await dsac(['node', 'ls', '--format', 'json', '--home', copy])).stdout);
  const named = await dsac(['node', 'retire', node.node, '--home', copy], { uid: NOBODY });
  assert.match(named.stderr, /^dsac: error: this user may only read the store .*\ndsac: hint: /);
  assert.equal(named.code, 77);
});

test('a store that is written to while one reads it who cannot lock it: the reader is told', {
  skip: process.getuid?.() !== 0 && 'left out: only root can run a command as another user',
}, async (t) => {
  const home = temporary(t);
  const folder = join(home, 'var/lib/dsac');
  mkdirSync(folder, { recursive: true });
  const first = await openStore(undefined, { home });
  await first.load([new FakeNode().next('logins', 'log', [plainEvent()])]);
  await first.close();
  assert.equal(statSync(join(folder, 'store.db')).mode & 0o777, 0o640, 'and others may not read it');
  for (const path of [home, join(home, 'var'), join(home, 'var/lib'), folder]) chmodSync(path, 0o755);
  chmodSync(join(folder, 'store.db'), 0o644);
  const reader = spawn(process.execPath, ['--input-type=module', '-e', READER, home], {
    uid: NOBODY,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [open] = await once(reader.stdout.setEncoding('utf8'), 'data');
  assert.equal(open, 'open');
  const writer = await openStore(undefined, { home });
  await writer.load([new FakeNode().next('logins', 'log', [plainEvent()])]);
  await writer.close();
  reader.stdin.end();
  const [closed] = await once(reader.stdout, 'data');
  assert.match(closed, /^tempfail the store .* was written to while it was read$/);
});
