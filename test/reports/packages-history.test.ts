/** A known random history of packages, told by agents as they tell it, must come out as exactly its changes: one row each, nothing else. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import packagesAgent from '../../agents/packages.ts';
import packagesReport from '../../reports/packages.ts';
import type { InventoryAgent } from '../../src/plugin/agent.ts';
import { diff, snapshotEvents } from '../../src/run/diff.ts';
import type { BaselineItem } from '../../src/run/state.ts';
import type { Batch, BatchEvent, Fields } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { FakeNode } from '../helpers/batches.ts';
import { fuzz } from '../helpers/fuzz.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.parse('2026-11-23T00:00:00.000Z');
const LOOKS = 5;
const EVERY = 4 * HOUR;

/** The logs that a manager's changes may be in. */
const LOGS = { dpkg: ['apt', 'dpkg'], rpm: ['dnf'], apk: ['apk'], pacman: ['pacman'] } as const;
type Manager = keyof typeof LOGS;

type Verb = 'up' | 'down' | 'remove' | 'purge';
interface Step {
  readonly verb: Verb;
  readonly version: number;
  /** Bits that choose among the manager's logs. */
  readonly logs: number;
}

/** What befalls one package between two looks. */
type Spell =
  /** Steps far enough apart that no two can be taken for one; each is in one log at least. */
  | { readonly how: 'far'; readonly steps: readonly Step[] }
  /** Steps seconds apart, each in every log. */
  | { readonly how: 'close'; readonly steps: readonly Step[] }
  /** One step that no log tells: only the inventory does. */
  | { readonly how: 'silent'; readonly step: Step }
  | { readonly how: 'quiet' };

interface Look {
  /** What befalls each package before it. */
  readonly spells: readonly Spell[];
  readonly packagesRestart: boolean;
  readonly historyRestart: boolean;
  readonly snapshot: boolean;
}

interface Story {
  readonly manager: Manager;
  readonly looks: readonly Look[];
}

const step: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom<Verb>('up', 'down', 'remove', 'purge'),
  version: fc.integer({ min: 1, max: 9 }),
  logs: fc.integer({ min: 1, max: 3 }),
});
const steps = fc.array(step, { minLength: 1, maxLength: 4 });
const spell: fc.Arbitrary<Spell> = fc.oneof(
  fc.record({ how: fc.constant('far' as const), steps }),
  fc.record({ how: fc.constant('close' as const), steps }),
  fc.record({ how: fc.constant('silent' as const), step }),
  fc.constant({ how: 'quiet' as const }),
);
const NAMES = ['alpha', 'beta', 'gamma'];
const story: fc.Arbitrary<Story> = fc.record({
  manager: fc.constantFrom<Manager>('dpkg', 'rpm', 'apk', 'pacman'),
  looks: fc.array(
    fc.record({
      spells: fc.array(spell, { minLength: NAMES.length, maxLength: NAMES.length }),
      packagesRestart: fc.boolean(),
      historyRestart: fc.boolean(),
      snapshot: fc.boolean(),
    }),
    { minLength: 1, maxLength: LOOKS },
  ),
});

const iso = (ms: number): string => new Date(ms).toISOString();

/** What version a package has after a step, null when it is gone; undefined when it cannot be taken. */
function versionAfter(from: number | null, { verb, version }: Step): number | null | undefined {
  const goes = verb === 'remove' || verb === 'purge';
  if (from === null) return goes ? undefined : version;
  if (goes) return null;
  const to = verb === 'up' ? from + version : from - version;
  return to < 1 ? undefined : to;
}

/** The logs that `chosen` names by its bits; one at least, but for 0. */
function logsOf(manager: Manager, chosen: number): readonly string[] {
  const logs = LOGS[manager].filter((_, bit) => (chosen >> bit) & 1);
  return logs.length === 0 && chosen > 0 ? [LOGS[manager][0]] : logs;
}

/** One node that lives through a story: what its agents write, and what really happened. */
class Life {
  readonly batches: Batch[] = [];
  /** `alpha came –→3 apt+dpkg`, in order for each package. */
  readonly truth = new Map<string, string[]>();
  readonly #node: FakeNode;
  readonly #manager: Manager;
  /** Version of each package, null when only its configuration is left. */
  readonly #state = new Map<string, number | null>();
  #seen = new Map<string, BaselineItem>();
  #log: BatchEvent[] = [];
  #fresh: BatchEvent[] = [];
  #epochs = { packages: 1, history: 1 };
  #looked: number | undefined;

  constructor({ manager, looks }: Story, node: FakeNode) {
    this.#node = node;
    this.#manager = manager;
    for (const [name, version] of [
      ['alpha', 5],
      ['other', 1],
    ] as const)
      this.#state.set(name, version);
    this.#look(START, { packagesRestart: false, historyRestart: false, snapshot: false });
    for (const [index, look] of looks.entries()) {
      const from = START + index * EVERY;
      for (const [at, name] of NAMES.entries())
        this.#live(name, look.spells[at]!, from + (10 + 7 * at) * MINUTE);
      this.#fresh.sort((a, b) => (a.time < b.time ? -1 : 1));
      this.#look(from + EVERY, look);
    }
  }

  #live(name: string, spell: Spell, from: number): void {
    if (spell.how === 'quiet') return;
    const all = spell.how === 'silent' ? [spell.step] : spell.steps;
    const apart = spell.how === 'close' ? 30_000 : 20 * MINUTE;
    for (const [index, one] of all.entries())
      this.#change(
        name,
        one,
        from + index * apart,
        spell.how === 'close' ? 3 : spell.how === 'far' ? one.logs : 0,
      );
  }

  /** Makes a change happen, if it can, and has those logs tell it. */
  #change(name: string, step: Step, time: number, chosen: number): void {
    const from = this.#state.get(name) ?? null;
    const to = versionAfter(from, step);
    if (to === undefined) return;
    const action = this.#actionOf(step, from, to);
    if (to === null && action === 'removed' && this.#manager === 'dpkg') this.#state.set(name, null);
    else if (to === null) this.#state.delete(name);
    else this.#state.set(name, to);
    const told = logsOf(this.#manager, chosen);
    for (const log of told) this.#tell(log, { name, action, from, to, time });
    const row = `${KIND[action]} ${from ?? '–'}→${to ?? '–'} ${[...told].sort().join('+')}`;
    this.truth.set(name, [...(this.truth.get(name) ?? []), row]);
  }

  #actionOf({ verb }: Step, from: number | null, to: number | null): string {
    if (to === null) return verb === 'purge' && this.#manager === 'dpkg' ? 'purged' : 'removed';
    if (from === null) return 'installed';
    return to > from ? 'upgraded' : 'downgraded';
  }

  #tell(
    source: string,
    change: { name: string; action: string; from: number | null; to: number | null; time: number },
  ): void {
    const { name, action, from, to, time } = change;
    const event = (at: number, what: string, more: Partial<BatchEvent> = {}): void => {
      this.#fresh.push({
        time: iso(at),
        action: what,
        item: this.#key(name),
        source,
        ...(from === null ? {} : { before: { version: version(from) } }),
        ...(to === null ? {} : { after: { version: version(to) } }),
        ...more,
      });
    };
    if (source === 'apt')
      event(time - 2000, action, { by: { user: 'alice' }, data: { end: iso(time + 5000) } });
    else if (source === 'dpkg' && action === 'purged') {
      event(time, 'removed');
      event(time + 1000, 'purged');
    } else event(time, action);
  }

  #key(name: string): string {
    return `${this.#manager}/${name}/${this.#manager === 'dpkg' ? 'amd64' : 'x86_64'}`;
  }

  #inventory(): Map<string, BaselineItem> {
    const items = [...this.#state].map(([name, is]): [string, BaselineItem] => {
      const key = this.#key(name);
      const fields: Fields =
        is === null
          ? { version: '1.0-1', status: 'config-files' }
          : { version: version(is), status: 'installed' };
      return [key, { key, source: this.#manager, fields }];
    });
    return new Map(items);
  }

  #look(time: number, { packagesRestart, historyRestart, snapshot }: Omit<Look, 'spells'>): void {
    const items = this.#inventory();
    const state = {
      items: items.size,
      digest: stateDigest([...items.values()].map(({ key, fields }) => [key, canonical(fields)])),
    };
    const first = this.#looked === undefined;
    if (packagesRestart) this.#epochs.packages++;
    const header = {
      time: iso(time),
      epoch: `p${this.#epochs.packages}`,
      state,
      ...(this.#looked === undefined || packagesRestart ? {} : { since: iso(this.#looked) }),
    };
    if (!(first || packagesRestart)) {
      const agent = packagesAgent as unknown as InventoryAgent;
      const events = diff(agent, this.#seen, items, new Set([this.#manager]), iso(time));
      if (events.length > 0 || !snapshot)
        this.batches.push(this.#node.next('packages', 'changes', events, header));
    }
    if (first || packagesRestart || snapshot)
      this.batches.push(this.#node.next('packages', 'snapshot', snapshotEvents(items, iso(time)), header));
    this.#seen = items;
    this.#looked = time;

    if (historyRestart) this.#epochs.history++;
    const events = historyRestart ? [...this.#log, ...this.#fresh] : this.#fresh;
    this.batches.push(
      this.#node.next('package-history', 'log', events, {
        time: iso(time),
        epoch: `h${this.#epochs.history}`,
      }),
    );
    this.#log = [...this.#log, ...this.#fresh];
    this.#fresh = [];
  }
}

function version(n: number): string {
  return `${n}.0-1`;
}

const KIND: Readonly<Record<string, string>> = {
  installed: 'came',
  appeared: 'came',
  removed: 'went',
  purged: 'went',
  vanished: 'went',
  upgraded: 'moved',
  downgraded: 'moved',
  differed: 'moved',
};

/** The rows of a report as the truth is written, without that the inventory saw it too. */
async function told(store: Store): Promise<Map<string, string[]>> {
  const scope = {
    since: new Date(START - HOUR),
    until: new Date(START + 48 * HOUR),
    nodes: undefined,
    now: new Date(),
  };
  const found = new Map<string, string[]>();
  for await (const { host, name, action, from, to, source } of packagesReport.rows(store, scope)) {
    const logs = source
      .split('+')
      .filter((one) => one !== 'observed')
      .sort()
      .join('+');
    const short = (text: string | null): string => text?.replace('.0-1', '') ?? '–';
    const key = `${host} ${name}`;
    found.set(key, [
      ...(found.get(key) ?? []),
      `${KIND[action] ?? action} ${short(from)}→${short(to)} ${logs}`,
    ]);
  }
  return found;
}

interface History {
  readonly stories: readonly Story[];
  /** In which order batches come, which come again, and where one load ends. */
  readonly order: readonly number[];
}

const history: fc.Arbitrary<History> = fc.record({
  stories: fc.array(story, { minLength: 1, maxLength: 3 }),
  order: fc.array(fc.nat({ max: 1000 }), { minLength: 20, maxLength: 20 }),
});

function* loads(batches: readonly Batch[], order: readonly number[]): Generator<Batch[]> {
  const key = (index: number): number => (order[index % order.length]! * (index + 7)) % 1009;
  const all = batches.map((batch, index) => ({ batch, at: key(index) }));
  const again = all
    .filter(({ at }) => at % 5 === 0)
    .map(({ batch, at }) => ({ batch, at: (at * 31) % 1009 }));
  const sorted = [...all, ...again].sort((a, b) => a.at - b.at).map(({ batch }) => batch);
  for (let at = 0, n = 0; at < sorted.length; n++) {
    const size = 1 + (order[n % order.length]! % 7);
    yield sorted.slice(at, at + size);
    at += size;
  }
}

async function holds(store: Store, { stories, order }: History): Promise<void> {
  const lives = stories.map(
    (one, n) => new Life(one, new FakeNode(`6f1c5a9e-0f5e-4d0e-8a54-00000000000${n}`, `web${n}`)),
  );
  for (const load of loads(
    lives.flatMap(({ batches }) => batches),
    order,
  ))
    await store.load(load);
  const truth = new Map(
    lives.flatMap((life, n) => [...life.truth].map(([name, rows]) => [`web${n} ${name}`, rows] as const)),
  );
  const sorted = (rows: Map<string, string[]>): [string, string[]][] =>
    [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  assert.deepEqual(sorted(await told(store)), sorted(truth));
}

test('one row per real change, whatever the history and however its batches come (SQLite)', async (t) => {
  await fuzz(t, 40, history, async (one) => {
    const store = await openStore('sqlite::memory:', { home: '/' });
    try {
      await holds(store, one);
    } finally {
      await store.close();
    }
  });
});

test('one row per real change, whatever the history and however its batches come (MySQL)', {
  skip: servicesLeftOut,
}, async (t: TestContext) => {
  const store = await openStore(await ownDatabase(t), { home: '/' });
  t.after(() => store.close());
  await fuzz(t, 2, history, async (one) => {
    for (const table of [
      'nodes',
      'batches',
      'streams',
      'forks',
      'events',
      'items',
      'runs',
      'agents',
    ] as const)
      await store.db.deleteFrom(table).execute();
    await holds(store, one);
  });
});
