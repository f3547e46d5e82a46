import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import packageHistory from '../../agents/package-history.ts';
import type { By } from '../../src/spool/batch.ts';
import type { StoredEvent } from '../../src/store/events.ts';
import { changesOfPackage } from '../../src/store/package-changes.ts';
import { packageChanges } from '../../src/store/package-stream.ts';
import { collectEntries } from '../helpers/sources.ts';
import { tree } from '../helpers/tree.ts';
import { at } from './stores.ts';

const BASE = { node: 'n1', host: 'web1', derived: false, by: undefined, data: undefined, since: null };
const ALICE: By = { user: 'alice', command: 'apt install hello' };

interface Versions {
  readonly from?: string | null;
  readonly to?: string | null;
}

/** What a manager's log tells: `recorded('dpkg', '02:00:05', 'installed', { to: '1' })`. */
function recorded(
  source: string,
  clock: string,
  action: string,
  versions: Versions,
  more: Partial<StoredEvent> = {},
): StoredEvent {
  const { from, to } = versions;
  const manager = source === 'apt' ? 'dpkg' : source === 'dnf' || source === 'zypp' ? 'rpm' : source;
  return {
    ...BASE,
    agent: 'package-history',
    source,
    time: at(clock),
    action,
    item: `${manager}/hello/amd64`,
    before: from == null ? undefined : { version: from },
    after: to == null ? undefined : { version: to },
    ...more,
  };
}

/** What the inventory shows at `clock`, having looked before at `since`. */
function observed(
  since: string,
  clock: string,
  action: string,
  versions: Versions,
  more: Partial<StoredEvent> = {},
): StoredEvent {
  return { ...recorded('dpkg', clock, action, versions), agent: 'packages', since: at(since), ...more };
}

/** Rows in short: `02:00:05 installed –→1 dpkg+apt+observed alice`. */
function short(events: readonly StoredEvent[]): string[] {
  return changesOfPackage(events).map(({ time, action, from, to, source, by }) =>
    [time.slice(11, 19), action, `${from ?? '–'}→${to ?? '–'}`, source, by?.user].filter(Boolean).join(' '),
  );
}

test('one install told by dpkg, apt and the inventory is one row with the time of dpkg and the person of apt', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'installed', { to: '1' }, { by: ALICE, data: { end: at('02:00:09') } }),
    recorded('dpkg', '02:00:05', 'installed', { to: '1' }),
    observed('01:00', '03:00', 'installed', { to: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:05 installed –→1 dpkg+apt+observed alice']);
});

test('install, remove and install again between two looks stay three rows', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'installed', { to: '1' }, { by: ALICE }),
    recorded('dpkg', '02:00:01', 'installed', { to: '1' }),
    recorded('apt', '02:01:00', 'removed', { from: '1' }),
    recorded('dpkg', '02:01:01', 'removed', { from: '1' }),
    recorded('apt', '02:02:00', 'installed', { to: '1' }),
    recorded('dpkg', '02:02:01', 'installed', { to: '1' }),
    observed('01:00', '03:00', 'installed', { to: '1' }),
  ]);
  assert.deepEqual(rows, [
    '02:00:01 installed –→1 dpkg+apt+observed alice',
    '02:01:01 removed 1→– dpkg+apt',
    '02:02:01 installed –→1 dpkg+apt+observed',
  ]);
});

test('install and remove between two looks are two rows although no inventory saw them', () => {
  const rows = short([
    recorded('dpkg', '02:00:01', 'installed', { to: '1' }),
    recorded('dpkg', '02:10:01', 'removed', { from: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:01 installed –→1 dpkg', '02:10:01 removed 1→– dpkg']);
});

test('an upgrade and a removal between two looks are two rows although the older version is seen to be gone', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'upgraded', { from: '1', to: '2' }),
    recorded('dpkg', '02:30:00', 'removed', { from: '2' }),
    observed('01:00', '03:00', 'removed', { from: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 dpkg+observed', '02:30:00 removed 2→– dpkg+observed']);
});

test('a purge stays one row when the package is installed and removed again soon after', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'purged', { from: '1' }, { data: { end: at('02:00:05') } }),
    recorded('dpkg', '02:00:02', 'removed', { from: '1' }),
    recorded('dpkg', '02:00:03', 'purged', { from: '1' }),
    recorded('apt', '02:00:30', 'installed', { to: '1' }, { data: { end: at('02:00:35') } }),
    recorded('dpkg', '02:00:32', 'installed', { to: '1' }),
    recorded('apt', '02:01:00', 'removed', { from: '1' }, { data: { end: at('02:01:05') } }),
    recorded('dpkg', '02:01:02', 'removed', { from: '1' }),
  ]);
  assert.deepEqual(rows, [
    '02:00:03 purged 1→– dpkg+apt',
    '02:00:32 installed –→1 dpkg+apt',
    '02:01:02 removed 1→– dpkg+apt',
  ]);
});

test('a snapshot that shows only the configuration of a package that was there tells of its removal', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'removed', { from: '1' }),
    {
      ...observed('01:00', '03:00', 'differed', { from: '1' }),
      after: { version: '1', status: 'config-files' },
      derived: true,
    },
  ]);
  assert.deepEqual(rows, ['02:00:00 removed 1→– dpkg+observed']);
});

test('two upgrades between two looks that show only their sum are two rows', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'upgraded', { from: '1', to: '2' }),
    recorded('dpkg', '02:30:00', 'upgraded', { from: '2', to: '3' }),
    observed('01:00', '03:00', 'upgraded', { from: '1', to: '3' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 dpkg+observed', '02:30:00 upgraded 2→3 dpkg+observed']);
});

test('a change that no log tells is a row of the inventory, at the time of the look', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'upgraded', { from: '1', to: '2' }),
    observed('01:00', '03:00', 'upgraded', { from: '1', to: '9' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 dpkg', '03:00:00 upgraded 1→9 observed']);
});

test('a record outside of what the look covers does not explain it', () => {
  const rows = short([
    recorded('dpkg', '00:30:00', 'installed', { to: '1' }),
    observed('01:00', '03:00', 'installed', { to: '1' }),
  ]);
  assert.equal(rows.length, 2);
});

test('a failed transaction does not explain what was seen', () => {
  const rows = short([
    recorded('dnf', '02:00:00', 'failed', { to: '1' }),
    observed('01:00', '03:00', 'installed', { to: '1' }, { item: 'rpm/hello/amd64' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 failed –→1 dnf', '03:00:00 installed –→1 observed']);
});

test('zypp, which calls an upgrade an installation, gets the word and the version before from the inventory', () => {
  const item = 'rpm/hello/x86_64';
  const rows = short([
    recorded('zypp', '02:00:00', 'installed', { to: '2' }, { by: { user: 'root' }, item }),
    observed('01:00', '03:00', 'upgraded', { from: '1', to: '2' }, { item }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 zypp+observed root']);
});

test('two installations in a row each get the person of their own transaction', () => {
  const bob = { user: 'bob', command: 'apt install hello' };
  const rows = short([
    recorded('apt', '02:00:00', 'installed', { to: '1' }, { by: ALICE }),
    recorded('dpkg', '02:00:25', 'installed', { to: '1' }),
    recorded('dpkg', '02:00:35', 'removed', { from: '1' }),
    recorded('apt', '02:00:40', 'installed', { to: '1' }, { by: bob }),
    recorded('dpkg', '02:00:45', 'installed', { to: '1' }),
  ]);
  assert.deepEqual(rows, [
    '02:00:25 installed –→1 dpkg+apt alice',
    '02:00:35 removed 1→– dpkg',
    '02:00:45 installed –→1 dpkg+apt bob',
  ]);
});

test('apt writes the native architecture for `all`: still one change, and the package keeps `all`', () => {
  const [row, ...more] = changesOfPackage([
    recorded('apt', '02:00:00', 'installed', { to: '1' }),
    recorded('dpkg', '02:00:01', 'installed', { to: '1' }, { item: 'dpkg/hello/all' }),
    observed('01:00', '03:00', 'installed', { to: '1' }, { item: 'dpkg/hello/all' }),
  ]);
  assert.deepEqual(more, []);
  assert.equal(row?.arch, 'all');
});

test('two architectures of one package are two changes', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'installed', { to: '1' }),
    recorded('dpkg', '02:00:01', 'installed', { to: '1' }, { item: 'dpkg/hello/i386' }),
    observed('01:00', '03:00', 'installed', { to: '1' }),
    observed('01:00', '03:00', 'installed', { to: '1' }, { item: 'dpkg/hello/i386' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 installed –→1 dpkg+observed', '02:00:01 installed –→1 dpkg+observed']);
});

test('an upgrade from `all` to the machine’s own architecture, or back, is one row, and nothing was removed', () => {
  for (const [was, is] of [
    ['all', 'amd64'],
    ['amd64', 'all'],
  ]) {
    const events = [
      recorded('apt', '02:00:00', 'upgraded', { from: '1', to: '2' }, { by: ALICE }),
      recorded('dpkg', '02:00:05', 'upgraded', { from: '1', to: '2' }, { item: `dpkg/hello/${is}` }),
      observed('01:50', '02:20', 'removed', { from: '1' }, { item: `dpkg/hello/${was}` }),
      observed('01:50', '02:20', 'installed', { to: '2' }, { item: `dpkg/hello/${is}` }),
    ];
    assert.deepEqual(short(events), ['02:00:05 upgraded 1→2 dpkg+apt+observed alice']);
    assert.equal(changesOfPackage(events)[0]?.arch, is);
  }
});

test('a long transaction finds what dpkg did an hour into it', () => {
  const rows = short([
    recorded(
      'apt',
      '02:00:00',
      'upgraded',
      { from: '1', to: '2' },
      { by: ALICE, data: { end: at('03:30') } },
    ),
    recorded('dpkg', '03:05:00', 'upgraded', { from: '1', to: '2' }),
  ]);
  assert.deepEqual(rows, ['03:05:00 upgraded 1→2 dpkg+apt alice']);
});

test('the nearest of two equal records takes the other log’s', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'reinstalled', { from: '1', to: '1' }),
    recorded('dpkg', '02:04:00', 'reinstalled', { from: '1', to: '1' }),
    recorded('apt', '02:04:00', 'reinstalled', { from: '1', to: '1' }, { by: ALICE }),
  ]);
  assert.deepEqual(rows, ['02:00:00 reinstalled 1→1 dpkg', '02:04:00 reinstalled 1→1 dpkg+apt alice']);
});

test('what apt set out to do and dpkg failed at is one failed row, with who tried', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'installed', { to: '1' }, { by: ALICE }),
    recorded('dpkg', '02:00:03', 'failed', { to: '1' }),
    recorded('apt', '02:01:00', 'installed', { to: '1' }, { by: ALICE }),
    recorded('dpkg', '02:01:03', 'installed', { to: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:03 failed –→1 dpkg+apt alice', '02:01:03 installed –→1 dpkg+apt alice']);
});

test('no record is lost between two others that fit the same one', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'reinstalled', { from: '1', to: '1' }),
    recorded('apt', '02:00:01', 'reinstalled', { from: '1', to: '1' }),
    recorded('dpkg', '02:00:03', 'reinstalled', { from: '1', to: '1' }),
  ]);
  assert.equal(rows.length, 2);
});

test('a purge is one row although dpkg removes first and purges then', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'purged', { from: '1' }, { by: ALICE }),
    recorded('dpkg', '02:00:01', 'removed', { from: '1' }),
    recorded('dpkg', '02:00:03', 'purged', { from: '1' }),
    observed('01:00', '03:00', 'purged', { from: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:03 purged 1→– dpkg+apt+observed alice']);
});

test('a purge that dpkg’s log calls a removal, for want of configuration to purge, is purged', () => {
  const apt = recorded('apt', '02:00:00', 'purged', { from: '1' }, { by: ALICE });
  const dpkg = recorded('dpkg', '02:00:01', 'removed', { from: '1' });
  assert.deepEqual(short([apt, dpkg]), ['02:00:01 purged 1→– dpkg+apt alice']);
  const look = observed('01:00', '03:00', 'removed', { from: '1' });
  assert.deepEqual(short([apt, dpkg, look]), ['02:00:01 purged 1→– dpkg+apt+observed alice']);
});

test('on a real machine, what apt purged is purged and what it removed is removed', async (t) => {
  const root = tree(t, {
    'var/log/apt/history.log': { from: 'history/lab12.apt-history' },
    'var/log/dpkg.log': { from: 'history/lab12.dpkg-log' },
  });
  const { got } = await collectEntries(packageHistory, { root, now: new Date('2026-11-24T05:00:00Z') });
  const events = Object.entries(got).flatMap(([source, entries]) =>
    entries.flatMap(({ event }) =>
      event === undefined
        ? []
        : ({ ...BASE, agent: 'package-history', ...event, source } as unknown as StoredEvent),
    ),
  );
  const last = (name: string): string[] =>
    changesOfPackage(events.filter(({ item }) => item?.split('/')[1] === name))
      .filter(({ action }) => action === 'removed' || action === 'purged')
      .map(({ action, source }) => `${action} ${source}`);
  for (const name of ['hello', 'cowsay', 'libtext-charwidth-perl'])
    assert.deepEqual(last(name), ['purged dpkg+apt'], name);
  for (const name of ['sl', 'nginx-light']) assert.deepEqual(last(name), ['removed dpkg+apt'], name);
});

test('a purge of which apt knows no version is still one row', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'purged', {}, { by: ALICE }),
    recorded('dpkg', '02:00:01', 'purged', { from: '1' }),
    observed('01:00', '03:00', 'purged', { from: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:01 purged 1→– dpkg+apt+observed alice']);
});

test('an installation that failed is no second row as if it had worked, unless the package is there ready for use', () => {
  const failed = recorded('dpkg', '02:00:01', 'failed', { to: '2' }, { by: ALICE });
  const look = (status: string): StoredEvent =>
    observed('01:00', '03:00', 'installed', { to: '2' }, { after: { version: '2', status } });
  assert.deepEqual(short([failed, look('half-configured')]), ['02:00:01 failed –→2 dpkg+observed alice']);
  assert.deepEqual(short([failed, look('installed')]), [
    '02:00:01 failed –→2 dpkg alice',
    '03:00:00 installed –→2 observed',
  ]);
});

test('what happened shortly before the first look is not called observed when the same happens again', () => {
  const rows = short([
    recorded('dpkg', '02:00:27', 'installed', { to: '1' }),
    recorded('dpkg', '02:00:34', 'purged', { from: '1' }),
    recorded('dpkg', '02:00:45', 'installed', { to: '1' }),
    observed('02:00:38', '02:00:50', 'installed', { to: '1' }),
  ]);
  assert.deepEqual(rows, [
    '02:00:27 installed –→1 dpkg',
    '02:00:34 purged 1→– dpkg',
    '02:00:45 installed –→1 dpkg+observed',
  ]);
});

test('a removal that is followed by a purge of its own is two rows', () => {
  const rows = short([
    recorded('apt', '02:00:00', 'removed', { from: '1' }),
    recorded('dpkg', '02:00:01', 'removed', { from: '1' }),
    recorded('apt', '02:00:30', 'purged', { from: '1' }),
    recorded('dpkg', '02:00:31', 'purged', { from: '1' }),
    observed('01:00', '03:00', 'purged', { from: '1' }),
  ]);
  assert.deepEqual(rows, ['02:00:01 removed 1→– dpkg+apt+observed', '02:00:31 purged 1→– dpkg+apt+observed']);
});

test('an inventory sees a removal that leaves configuration as a removal', () => {
  const look = observed(
    '01:00',
    '03:00',
    'removed',
    {},
    {
      before: { version: '1', status: 'installed' },
      after: { version: '1', status: 'config-files' },
    },
  );
  assert.deepEqual(short([look]), ['03:00:00 removed 1→– observed']);
  assert.deepEqual(short([recorded('dpkg', '02:00:00', 'removed', { from: '1' }), look]), [
    '02:00:00 removed 1→– dpkg+observed',
  ]);
});

test('putting a package on hold is a row of its own beside an upgrade to the same version', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'upgraded', { from: '1', to: '2' }),
    observed('01:00', '03:00', 'upgraded', { from: '1', to: '2' }),
    observed('01:00', '03:00', 'held', { from: '2', to: '2' }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 dpkg+observed', '03:00:00 held 2→2 observed']);
});

test('what a snapshot shows after a hole is explained by the log of that time', () => {
  const rows = short([
    recorded('dpkg', '02:00:00', 'upgraded', { from: '1', to: '2' }),
    observed('00:00', '09:00', 'differed', { from: '1', to: '2' }, { derived: true }),
  ]);
  assert.deepEqual(rows, ['02:00:00 upgraded 1→2 dpkg+observed']);
});

async function* pagesOf<T>(all: readonly T[], length: number): AsyncGenerator<T[]> {
  for (let at = 0; at < all.length; at += length) yield all.slice(at, at + length);
}

/** Events as the store streams them: by the earliest moment each can have happened. */
function inOrder(events: readonly StoredEvent[]): StoredEvent[] {
  const start = ({ since, time }: StoredEvent): string => since ?? time;
  return events.toSorted((a, b) => (start(a) < start(b) ? -1 : start(a) > start(b) ? 1 : 0));
}

const clock = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

const minute = fc.integer({ min: 0, max: 1200 });
const word = fc.constantFrom('1', '2', '3');
const anyEvent = fc
  .record({
    minute,
    length: fc.integer({ min: 1, max: 180 }),
    look: fc.boolean(),
    to: word,
    source: fc.constantFrom('apt', 'dpkg'),
    name: fc.constantFrom('a', 'b'),
    node: fc.constantFrom('n1', 'n2'),
  })
  .map(({ minute, length, look, to, source, name, node }) => {
    const more = { node, item: `dpkg/${name}/amd64` };
    return look
      ? observed(clock(minute), clock(minute + length), 'installed', { to }, more)
      : recorded(source, clock(minute), 'installed', { to }, more);
  });

test('streaming gives the rows of all packages in order of time, the same as looking at each whole', async () => {
  const some = fc.array(anyEvent, { maxLength: 25 });
  const property = fc.asyncProperty(some, fc.integer({ min: 1, max: 8 }), async (events, length) => {
    const ordered = inOrder(events);
    const rows = (await Array.fromAsync(packageChanges(pagesOf(ordered, length)))).flat();
    const times = rows.map(({ time, node }) => `${time} ${node}`);
    assert.deepEqual(times, times.toSorted());
    const whole = [...Map.groupBy(ordered, ({ node, item }) => `${node} ${item}`).values()].flatMap(
      changesOfPackage,
    );
    const sorted = (all: readonly unknown[]): string[] => all.map((row) => JSON.stringify(row)).sort();
    assert.deepEqual(sorted(rows), sorted(whole));
  });
  await fc.assert(property, { numRuns: 300 });
});

/** At most how many events were read beyond the one that a row is about, when it was given out; `held`: what comes before them. */
async function readAhead(held: readonly StoredEvent[]): Promise<number> {
  const events = Array.from({ length: 1000 }, (_, n) =>
    recorded('dpkg', clock(n), 'installed', { to: '1' }, { item: `dpkg/p${n}/amd64` }),
  );
  let ahead = 0;
  let read = 0;
  async function* counted(): AsyncGenerator<StoredEvent[]> {
    for await (const page of pagesOf([...held, ...events], 5)) {
      read += page.length;
      yield page;
    }
  }
  for await (const changes of packageChanges(counted()))
    for (const { name } of changes)
      if (name.startsWith('p')) ahead = Math.max(ahead, read - held.length - Number(name.slice(1)));
  assert.equal(read, held.length + 1000);
  return ahead;
}

test('P9: a change is given out before the stream ends, so that memory does not grow with it', async () => {
  assert.ok((await readAhead([])) < 20);
});

test('P9: a node that was not looked at for long holds up no change of others', async () => {
  const look = observed(
    clock(0),
    clock(1199),
    'installed',
    { to: '1' },
    { node: 'n9', item: 'dpkg/z/amd64' },
  );
  assert.ok((await readAhead([look])) < 20);
});
