import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import packageHistory from '../../agents/package-history.ts';
import type { HistoryEvent } from '../../src/source/history/packagehistory.ts';
import { eventSchema } from '../../src/spool/batch.ts';
import { collectEntries, lastCursor } from '../helpers/sources.ts';
import { fixtures, sharedFixture, temporary, tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

agentConformance(packageHistory, {
  tree: (t) =>
    tree(t, {
      'var/log/apt/history.log': { from: 'history/lab12.apt-history' },
      'var/log/dpkg.log': { from: 'history/lab12.dpkg-log' },
      'var/lib/dnf/history.sqlite': { from: 'history/lab-alpha.dnf4.sqlite' },
      'var/log/zypp/history': { from: 'history/lab-alpha.zypp-history' },
      'var/log/apk.log': { from: 'history/synthetic.apk-log' },
      'var/log/pacman.log': { from: 'history/lab-alpha.pacman-log' },
    }),
});

const NOW = new Date('2026-11-24T05:00:00Z');
const APT = 'var/log/apt/history.log';

/** One run of the agent over a tree, from the cursors that the run before left. */
async function run(root: string, cursors: Record<string, unknown> = {}, now = NOW) {
  const { got, absent } = await collectEntries(packageHistory, { root, now, cursors });
  const events: Record<string, HistoryEvent[]> = {};
  const next: Record<string, unknown> = { ...cursors };
  for (const [source, entries] of Object.entries(got)) {
    events[source] = entries.flatMap(({ event }) => event ?? []);
    for (const event of events[source]) eventSchema.parse(event);
    next[source] = lastCursor(entries) ?? next[source];
  }
  return { events, cursors: next, absent };
}

function tally(events: readonly HistoryEvent[] = []): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { action } of events) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

/** Stanzas of apt, one a minute, that install p0, p1, … */
const stanzas = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => {
    const at = new Date(Date.UTC(2026, 10, 1, 0, from + index)).toISOString().replace('T', '  ').slice(0, 20);
    return `\nStart-Date: ${at}\nCommandline: apt install p${from + index}\nInstall: p${from + index}:all (1)\nEnd-Date: ${at}\n`;
  }).join('');
const names = (events: readonly HistoryEvent[] = []): string[] =>
  events.map(({ item = '' }) => item.split('/')[1]!);
const expected = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `p${from + index}`);

for (const [fixture, path, source, counts] of [
  [
    'lab12.apt-history',
    APT,
    'apt',
    { installed: 17, reinstalled: 1, removed: 7, purged: 3, upgraded: 2, downgraded: 1 },
  ],
  ['lab12-injection.apt-history', APT, 'apt', { removed: 5, installed: 19, reinstalled: 1, purged: 2 }],
  ['evil.apt-history', APT, 'apt', { installed: 3, upgraded: 3 }],
  [
    'lab12.dpkg-log',
    'var/log/dpkg.log',
    'dpkg',
    { installed: 30, reinstalled: 1, removed: 12, upgraded: 4, downgraded: 1, failed: 4 },
  ],
  ['lab-alpha.zypp-history', 'var/log/zypp/history', 'zypp', { installed: 10, failed: 1, removed: 1 }],
  [
    'synthetic.apk-log',
    'var/log/apk.log',
    'apk',
    { installed: 2, upgraded: 1, removed: 2, reinstalled: 1, failed: 2 },
  ],
  [
    'lab-alpha.pacman-log',
    'var/log/pacman.log',
    'pacman',
    { installed: 7, upgraded: 2, downgraded: 1, reinstalled: 1, removed: 3 },
  ],
] as const) {
  test(`every change in ${fixture} is told, and told once`, async (t) => {
    const root = tree(t, { [path]: { from: `history/${fixture}` } });
    const first = await run(root);
    assert.deepEqual(tally(first.events[source]), counts);
    assert.equal(Object.keys(first.absent).length, 5);
    const second = await run(root, first.cursors);
    assert.deepEqual(second.events[source], []);
  });

  test(`reading ${fixture} in two runs, split anywhere, tells what one run tells`, async (t) => {
    const bytes = readFileSync(join(fixtures, 'history', fixture));
    const root = tree(t, { [path]: bytes });
    const now = new Date(Math.min(NOW.getTime(), Date.parse(firstTime(bytes)) + 23 * 3_600_000));
    const whole = (await run(root, {}, now)).events[source];
    const step = Math.ceil(bytes.length / 17);
    for (let cut = 0; cut <= bytes.length; cut += step) {
      writeFileSync(join(root, path), bytes.subarray(0, cut));
      const first = await run(root, {}, now);
      appendFileSync(join(root, path), bytes.subarray(cut));
      const second = await run(root, first.cursors, now);
      assert.deepEqual(
        [...(first.events[source] ?? []), ...(second.events[source] ?? [])],
        whole,
        `cut at ${cut}`,
      );
    }
  });
}

/** The first time in a log: a split is only without effect while nothing in it is old enough to be given up. */
function firstTime(bytes: Buffer): string {
  return `${/\d{4}-\d\d-\d\d[T ]+\d\d:\d\d:\d\d/.exec(bytes.toString('latin1'))![0].replace(/[T ]+/, 'T')}Z`;
}

for (const [file, path, source, counts] of [
  ['apt/plaso.history.log', APT, 'apt', { upgraded: 8, installed: 780, removed: 8, purged: 1 }],
  ['dnf/rhel-dnf4.history.sqlite', 'var/lib/dnf/history.sqlite', 'dnf', { installed: 55 }],
  ['dpkg/plaso.dpkg.log', 'var/log/dpkg.log', 'dpkg', { failed: 1 }],
] as const) {
  test(`every change in the real file ${file} is told`, async (t) => {
    const from = sharedFixture(t, file);
    if (from === undefined) return;
    const { events } = await run(tree(t, { [path]: { from } }));
    assert.deepEqual(tally(events[source]), counts);
  });
}

test('apt’s requester, command, versions, error and end are those of its stanza', async (t) => {
  const root = tree(t, { [APT]: { from: 'history/lab12.apt-history' } });
  const { apt = [] } = (await run(root)).events;
  assert.deepEqual(
    apt.find(({ item }) => item === 'dpkg/libncurses6/amd64'),
    {
      time: '2026-11-23T02:53:04.000Z',
      action: 'installed',
      item: 'dpkg/libncurses6/amd64',
      after: { version: '6.4-4' },
      by: { user: 'alice', uid: 1000, command: 'apt-get install -y --no-install-recommends tree sl hello' },
      data: { transaction: '2026-11-23  02:53:04', end: '2026-11-23T02:53:04.000Z', auto: true },
    },
  );
  const failed = apt.filter(({ data }) => data?.error !== undefined).map(({ item }) => item);
  assert.deepEqual(failed, ['dpkg/dsac-halfconf/amd64', 'dpkg/dsac-conf/amd64', 'dpkg/dsac-conf/amd64']);
});

test('a hostile command line forges nothing, and its bytes are kept', async (t) => {
  const root = tree(t, { [APT]: { from: 'history/lab12-injection.apt-history' } });
  const { apt = [] } = (await run(root)).events;
  assert.ok(!apt.some(({ item }) => item?.includes('backdoor')));
  assert.equal(apt[0]!.by!.command, 'apt-get -o A::B=\x1b[31mred\x1b[0m\x07 remove -y tree');
  assert.equal(apt[2]!.by!.command, 'apt-get -o A::B=bad\\xff\\xfeutf8 remove -y tree');
  const killed = apt.filter(({ data }) => data?.unfinished);
  assert.deepEqual(new Set(killed.map(({ time }) => time)), new Set(['2026-11-23T03:06:35.000Z']));
});

test('local times are read in the zone of the system looked at', async (t) => {
  const root = tree(t, {
    [APT]: { from: 'history/evil.apt-history' },
    'var/log/apk.log': { from: 'history/synthetic.apk-log' },
  });
  mkdirSync(join(root, 'etc'));
  symlinkSync('/usr/share/zoneinfo/Europe/Berlin', join(root, 'etc/localtime'));
  const { events } = await run(root);
  assert.equal(events.apt![0]!.time, '2024-03-31T01:30:00.000Z', '02:30 was skipped by the clocks');
  assert.equal(events.apk![0]!.time, '2025-01-05T10:00:00.000Z', 'apk writes UTC');
});

test('rotated and compressed histories are read, oldest first, and what was left of one before the next', async (t) => {
  const root = tree(t, {
    [`${APT}.2.gz`]: gzipSync(stanzas(0, 3)),
    [`${APT}.1.gz`]: gzipSync(stanzas(3, 5)),
    [APT]: stanzas(5, 7),
  });
  const first = await run(root);
  assert.deepEqual(names(first.events.apt), expected(0, 7));
  rmSync(join(root, APT));
  renameSync(join(root, `${APT}.2.gz`), join(root, `${APT}.3.gz`));
  renameSync(join(root, `${APT}.1.gz`), join(root, `${APT}.2.gz`));
  writeFileSync(join(root, `${APT}.1.gz`), gzipSync(stanzas(5, 9)));
  writeFileSync(join(root, APT), stanzas(9, 10));
  assert.deepEqual(names((await run(root, first.cursors)).events.apt), expected(7, 10));
});

test('a history cut at its end is told as lost, and what it still holds is not told again', async (t) => {
  const root = tree(t, { [APT]: stanzas(0, 20) });
  const first = await run(root);
  writeFileSync(join(root, APT), stanzas(0, 15) + stanzas(30, 31));
  const second = await run(root, first.cursors);
  assert.deepEqual(
    second.events.apt!.map(({ action }) => action),
    ['history-lost', 'installed'],
  );
  assert.match(second.events.apt![0]!.data!.lost!, /history\.log was (cut|rewritten)/);
  assert.deepEqual(names(second.events.apt), ['apt', 'p30']);
  appendFileSync(join(root, APT), stanzas(31, 32));
  assert.deepEqual(names((await run(root, second.cursors)).events.apt), ['p31']);
});

test('a change dated in the far future does not hide what comes after a cut', async (t) => {
  const future = '\nStart-Date: 2099-01-01  00:00:00\nInstall: f:all (1)\nEnd-Date: 2099-01-01  00:00:00\n';
  const root = tree(t, { [APT]: stanzas(0, 3) + future });
  const first = await run(root, {}, new Date('2026-11-02T00:00:00Z'));
  const later =
    '\nStart-Date: 2026-11-03  00:00:00\nInstall: later:all (1)\nEnd-Date: 2026-11-03  00:00:00\n';
  writeFileSync(join(root, APT), later);
  const second = await run(root, first.cursors, new Date('2026-11-04T00:00:00Z'));
  assert.deepEqual(names(second.events.apt), ['apt', 'later']);
});

test('a history that was removed is told as lost once, then absent from sight without a word', async (t) => {
  const root = tree(t, { [APT]: stanzas(0, 3) });
  const first = await run(root);
  rmSync(join(root, APT));
  const second = await run(root, first.cursors);
  assert.deepEqual(tally(second.events.apt), { 'history-lost': 1 });
  assert.deepEqual((await run(root, second.cursors)).events.apt, []);
});

test('a stored cursor that is nonsense is told, and the history read from its start', async (t) => {
  const root = tree(t, { [APT]: stanzas(0, 3) });
  const { events } = await run(root, { apt: { at: 1, state: 2 } });
  assert.deepEqual(names(events.apt), ['apt', 'p0', 'p1', 'p2']);
});

test('a machine without any package manager’s history has six absent sources, each with its reason', async (t) => {
  const { absent } = await run(temporary(t));
  assert.deepEqual(Object.keys(absent), ['apt', 'dpkg', 'dnf', 'zypp', 'apk', 'pacman']);
  assert.equal(absent.zypp, 'no /var/log/zypp/history');
});

test('cursors are handed out on the way through a long log, each with all that it needs to go on', async (t) => {
  const root = tree(t, { [APT]: stanzas(0, 300) });
  const { got } = await collectEntries(packageHistory, { root, now: NOW });
  const cursors = got.apt!.flatMap(({ cursor }, index) => (cursor === undefined ? [] : [{ cursor, index }]));
  assert.ok(cursors.length > 3);
  for (const { cursor, index } of cursors) {
    const before = got.apt!.slice(0, index).flatMap(({ event }) => event ?? []);
    const rest = await run(root, { apt: JSON.parse(JSON.stringify(cursor)) });
    assert.deepEqual([...names(before), ...names(rest.events.apt)], expected(0, 300));
  }
});
