import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dpkgLog } from '../../../src/source/history/dpkg-log.ts';
import { clockOf } from '../../../src/source/localtime.ts';

/** Action, item, from, to, state left behind and second of every event that these lines of one minute come to. */
function told(lines: readonly string[], now = '2026-11-24T11:00:00Z') {
  const parser = dpkgLog(clockOf('UTC'));
  const state = parser.begin();
  const events = lines.flatMap((line, second) =>
    parser.line(state, Buffer.from(`2026-11-24 10:00:${String(second).padStart(2, '0')} ${line}`)),
  );
  return [...events, ...parser.settle(state, new Date(now))].map(
    ({ time, action, item, before, after, data }) => [
      action,
      item,
      before?.version,
      after?.version,
      data?.status,
      Number(time.slice(17, 19)),
    ],
  );
}

test('an installation is told when the package is installed, not when it begins', () => {
  const lines = ['install a:amd64 <none> 1', 'status half-installed a:amd64 1', 'status unpacked a:amd64 1'];
  assert.deepEqual(told(lines), []);
  assert.deepEqual(told([...lines, 'status half-configured a:amd64 1', 'status installed a:amd64 1']), [
    ['installed', 'dpkg/a/amd64', undefined, '1', undefined, 4],
  ]);
});

test('dpkg’s word upgrade is told as what it was: upgraded, downgraded or reinstalled', () => {
  for (const [from, to, action] of [
    ['1.9', '1.10', 'upgraded'],
    ['1.0', '1.0~rc1', 'downgraded'],
    ['1.0', '2:0.9', 'upgraded'],
    ['1.0', '1.0', 'reinstalled'],
  ])
    assert.deepEqual(
      told([
        `upgrade a:all ${from} ${to}`,
        `status unpacked a:all ${to}`,
        `configure a:all ${to} <none>`,
        `status installed a:all ${to}`,
      ]),
      [[action, 'dpkg/a/all', from, to, undefined, 3]],
    );
});

test('an upgrade that ends in the old version failed', () => {
  assert.deepEqual(told(['upgrade a:all 1 2', 'status half-installed a:all 1', 'status installed a:all 1']), [
    ['failed', 'dpkg/a/all', '1', '2', 'installed', 2],
  ]);
});

test('a reinstallation that dpkg gave up failed, though it ends in the version wanted', () => {
  // as dpkg 1.21 logs a preinst that fails, and a prerm that does
  const afterPreinst = ['half-configured', 'unpacked', 'half-installed', 'unpacked', 'installed'];
  for (const states of [afterPreinst, ['half-configured', 'installed']]) {
    const lines = ['upgrade a:all 1 1', ...states.map((state) => `status ${state} a:all 1`)];
    assert.deepEqual(told(lines), [['failed', 'dpkg/a/all', '1', '1', 'installed', states.length]]);
  }
});

test('an upgrade that changes the architecture is one change, told under the new one', () => {
  for (const [from, to] of [
    ['all', 'amd64'],
    ['amd64', 'all'],
  ]) {
    const begun = [
      `upgrade a:${from} 1 2`,
      `status half-configured a:${from} 1`,
      `status unpacked a:${from} 1`,
      `status half-installed a:${from} 1`,
    ];
    const done = [
      `status unpacked a:${to} 2`,
      `configure a:${to} 2 2`,
      `status half-configured a:${to} 2`,
      `status installed a:${to} 2`,
    ];
    const later = '2026-11-26T00:00:00Z';
    assert.deepEqual(told([...begun, ...done, 'startup packages configure'], later), [
      ['upgraded', `dpkg/a/${to}`, '1', '2', undefined, 7],
    ]);
    const givenUp = [`status unpacked a:${from} 1`, `status installed a:${from} 1`];
    assert.deepEqual(told([...begun, ...givenUp], later), [
      ['failed', `dpkg/a/${from}`, '1', '2', 'installed', 5],
    ]);
  }
});

test('a package left half-configured failed when dpkg’s next run begins, and is told once configured', () => {
  const failing = [
    'install a:all <none> 1',
    'status unpacked a:all 1',
    'status half-configured a:all 1',
    'startup packages configure',
  ];
  const failed = ['failed', 'dpkg/a/all', undefined, '1', 'half-configured', 2];
  assert.deepEqual(told(failing), [failed]);
  assert.deepEqual(
    told([...failing, 'configure a:all 1 <none>', 'status installed a:all 1', 'startup x y']),
    [failed, ['installed', 'dpkg/a/all', undefined, '1', undefined, 5]],
  );
});

test('a package left unpacked waits for a later run, a day at most', () => {
  const lines = ['install a:all <none> 1', 'status unpacked a:all 1', 'startup archives unpack'];
  assert.deepEqual(told(lines), []);
  assert.deepEqual(told(lines, '2026-11-25T11:00:00Z'), [
    ['failed', 'dpkg/a/all', undefined, '1', 'unpacked', 1],
  ]);
});

test('a removal is told once, with or without configuration left, and a purge by itself', () => {
  const removal = [
    'status installed a:all 1',
    'remove a:all 1 <none>',
    'status half-installed a:all 1',
    'status config-files a:all 1',
  ];
  const removed = ['removed', 'dpkg/a/all', '1', undefined, undefined, 3];
  assert.deepEqual(told([...removal, 'status not-installed a:all <none>']), [removed]);
  assert.deepEqual(
    told([
      ...removal,
      'purge a:all 1 <none>',
      'status config-files a:all 1',
      'status not-installed a:all <none>',
    ]),
    [removed, ['purged', 'dpkg/a/all', '1', undefined, undefined, 6]],
  );
});

test('a package that waits for triggers only is installed', () => {
  assert.deepEqual(
    told(['install a:all <none> 1', 'status unpacked a:all 1', 'status triggers-awaited a:all 1']),
    [['installed', 'dpkg/a/all', undefined, '1', undefined, 2]],
  );
});

test('packages without an architecture, as old dpkg wrote them, and lines of another form are no trouble', () => {
  assert.deepEqual(
    told(['install a <none> 1', 'conffile /etc/a keep', 'garbage', 'status installed a 1', '']),
    [['installed', 'dpkg/a', undefined, '1', undefined, 3]],
  );
});

test('a trigger that marks a package whose upgrade has not begun is no outcome of it', () => {
  for (const to of ['2', '1'])
    assert.deepEqual(
      told([
        `upgrade a:all 1 ${to}`,
        'status triggers-pending a:all 1',
        `status unpacked a:all ${to}`,
        `configure a:all ${to} <none>`,
        `status installed a:all ${to}`,
      ]),
      [[to === '1' ? 'reinstalled' : 'upgraded', 'dpkg/a/all', '1', to, undefined, 4]],
    );
});
