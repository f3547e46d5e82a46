/** An agent whose sources rest on files does not read them again, unless they may hold something else. Each test is a way in which that might be missed. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { stamp } from '../../src/host/stamp.ts';
import type { System } from '../../src/host/system.ts';
import { text } from '../../src/host/text.ts';
import { type Agent, absent, defineInventory, defineLog } from '../../src/plugin/agent.ts';
import { Bench, type RunOptions } from '../helpers/bench.ts';
import { tree } from '../helpers/tree.ts';

const DAY = 86_400_000;
/** When the settings say that they were written, in seconds: whole ones, so that the same time can be set again. */
const WRITTEN = 1_700_000_000;

/** The lines of all files that the agent looks at. */
async function linesIn(system: System): Promise<string[]> {
  const files = ['/etc/settings', '/etc/tree/deep/down', '/etc/tree/linked/in'];
  for (const name of (await system.list('/etc/settings.d')) ?? [])
    if (name.endsWith('.conf')) files.push(`/etc/settings.d/${name}`);
  const all = await Promise.all(
    files.map(async (file) => text((await system.read(file)) ?? Buffer.alloc(0))),
  );
  const isThere = (await system.list('/etc/empty')) !== undefined;
  return [
    ...all.flatMap((content) => content.split('\n')).filter((line) => line !== ''),
    ...(isThere ? ['e=1'] : []),
  ];
}

/** A machine with settings, a node on it, and an agent that counts how often it reads them. */
class Machine {
  readonly bench: Bench;
  reads = 0;
  /** What happens between the reading of the files and its end. */
  meanwhile: () => void = () => {};
  until: Date | undefined;
  restsOnFiles = true;

  constructor(t: TestContext) {
    this.bench = new Bench(t);
    this.bench.rootfs = tree(t, {
      'etc/settings': 'a=1\n',
      'etc/settings.d/x.conf': 'x=1\n',
      'etc/tree/deep/down': 'deep=1\n',
      'opt/linked': 'linked=1\n',
      'opt/folder/in': 'in=1\n',
    });
    utimesSync(this.path(), WRITTEN, WRITTEN);
    symlinkSync('/opt/linked', this.path('etc/settings.d/linked.conf'));
    symlinkSync('/opt/folder', this.path('etc/tree/linked'));
    symlinkSync('/etc/tree', this.path('opt/folder/round'));
    this.rest();
  }

  path(file = 'etc/settings'): string {
    return join(this.bench.rootfs, file);
  }

  /** Lets all files have been at rest for some seconds: their times cannot be set, the node's clock can. */
  rest(): void {
    this.bench.now = new Date(Date.now() + 10_000);
  }

  get agent(): Agent {
    const self = this;
    return defineInventory({
      name: 'settings',
      summary: 'settings',
      every: '1h',
      options: z.strictObject({ loud: z.boolean().optional() }),
      fields: z.strictObject({ value: z.string() }),
      actions: { set: 'set', changed: 'changed', unset: 'unset' },
      describe: ({ before, after }) => ({
        action: before === undefined ? 'set' : after === undefined ? 'unset' : 'changed',
      }),
      sources: {
        async *files({ system, restsOn, options }) {
          const files = await stamp(system, [
            '/etc/settings',
            '/etc/settings.d/*.conf',
            '/etc/tree/**',
            '/etc/empty/*',
          ]);
          self.reads++;
          const lines = await linesIn(system);
          self.meanwhile();
          for (const line of lines) {
            const [name, value] = line.split('=');
            yield { key: name!, fields: { value: options.loud ? `${value}!` : value! } };
          }
          if (self.restsOnFiles) restsOn(files, self.until);
        },
        async *other({ system, restsOn }) {
          restsOn(await stamp(system, ['/etc/other']));
          const other = await system.read('/etc/other');
          if (other === undefined) absent('no /etc/other');
          yield { key: 'other', fields: { value: text(other) } };
        },
      },
    }) as Agent;
  }

  /** Runs the agent; answers whether it read its files, and what it told. */
  async run(options?: RunOptions): Promise<{ read: boolean; told: string[] }> {
    const [reads, events] = [this.reads, this.reads === 0 ? 0 : this.bench.events('settings').length];
    const { outcome, reason } = await this.bench.run(this.agent, options);
    assert.equal(outcome, 'ok', reason);
    const told = this.bench.events('settings').slice(events);
    return { read: this.reads > reads, told: told.map(({ action, item }) => `${action} ${item}`) };
  }
}

/** A machine whose settings have been read once, all at rest. */
async function settled(t: TestContext): Promise<Machine> {
  const machine = new Machine(t);
  await machine.run();
  machine.rest();
  return machine;
}

test('files that are as they were are not read again, and the run leaves its receipt as ever', async (t) => {
  const machine = await settled(t);
  assert.deepEqual(await machine.run(), { read: false, told: [] });
  const [first, second] = machine.bench.batches('receipts').map((batch) => [...batch.events()][0]!.data!);
  assert.deepEqual(second, { ...first, started: machine.bench.now.toISOString() });
  const state = readFileSync(join(machine.bench.paths.lib, 'agents/settings/state.json'), 'utf8');
  assert.equal(JSON.parse(state).ran, machine.bench.now.toISOString(), 'it does not count as having run');
});

/** Gives a file other bytes of the same length and its old times, in its place or by another file. */
function replace(path: string, content: string, how: 'in place' | 'by another file'): void {
  assert.equal(content.length, statSync(path).size);
  const target = how === 'in place' ? path : `${path}.new`;
  writeFileSync(target, content);
  utimesSync(target, WRITTEN, WRITTEN);
  if (target !== path) renameSync(target, path);
}

const CHANGES: Readonly<Record<string, readonly [change: (machine: Machine) => void, ...told: string[]]>> = {
  'a file written over, with its size and times as before': [
    (machine) => replace(machine.path(), 'a=2\n', 'in place'),
    'changed a',
  ],
  'a file replaced by another of the same size and times': [
    (machine) => replace(machine.path(), 'a=2\n', 'by another file'),
    'changed a',
  ],
  'a file removed': [(machine) => rmSync(machine.path()), 'unset a'],
  'a new file in a folder': [
    (machine) => writeFileSync(machine.path('etc/settings.d/y.conf'), 'y=1\n'),
    'set y',
  ],
  'a file changed deep below a folder': [
    (machine) => writeFileSync(machine.path('etc/tree/deep/down'), 'deep=2\n'),
    'changed deep',
  ],
  'a file changed in a folder that a link below the folder leads to': [
    (machine) => writeFileSync(machine.path('opt/folder/in'), 'in=2\n'),
    'changed in',
  ],
  'an empty folder that was not there': [(machine) => mkdirSync(machine.path('etc/empty')), 'set e'],
  'a file changed that a link leads to': [
    (machine) => writeFileSync(machine.path('opt/linked'), 'linked=2\n'),
    'changed linked',
  ],
  'a source that was absent and is there': [
    (machine) => writeFileSync(machine.path('etc/other'), 'new'),
    'present other',
  ],
};

for (const [what, [change, ...told]] of Object.entries(CHANGES)) {
  test(`a change is seen: ${what}`, async (t) => {
    const machine = await settled(t);
    change(machine);
    assert.deepEqual(await machine.run(), { read: true, told });
  });
}

test('a change while the files are being read is seen by the next run', async (t) => {
  const machine = new Machine(t);
  machine.meanwhile = () => writeFileSync(machine.path(), 'a=2\n');
  await machine.run();
  machine.meanwhile = () => {};
  machine.rest();
  assert.deepEqual(await machine.run(), { read: true, told: ['changed a'] });
});

test('files that changed just before they were read are read once more: another change need not show', async (t) => {
  const machine = new Machine(t);
  machine.bench.now = new Date(statSync(machine.path()).ctimeMs + 1900);
  await machine.run();
  assert.equal((await machine.run()).read, true, 'a stamp was trusted that is younger than a clock’s grain');
  machine.rest();
  await machine.run();
  assert.equal((await machine.run()).read, false);
});

const CIRCUMSTANCES: Readonly<Record<string, (machine: Machine) => RunOptions | undefined>> = {
  'an option is another': () => ({ options: { loud: true } }),
  'DSAC was upgraded': (machine) => {
    machine.bench.build = 'two';
    return undefined;
  },
  'the secret that digests are made with is another': (machine) => {
    writeFileSync(join(machine.bench.paths.etc, 'node.secret'), `${'0'.repeat(64)}\n`);
    return undefined;
  },
};

for (const [what, change] of Object.entries(CIRCUMSTANCES)) {
  test(`the same files are read again when ${what}`, async (t) => {
    const machine = await settled(t);
    const options = change(machine);
    const { read, told } = await machine.run(options);
    assert.equal(read, true);
    assert.equal(told.length > 0, options !== undefined, 'an option changes what is told, nothing else does');
  });
}

test('where time alone may change what is read, it is read again at that moment', async (t) => {
  const machine = new Machine(t);
  machine.until = new Date(machine.bench.now.getTime() + 60_000);
  await machine.run();
  machine.bench.later(59_999);
  assert.equal((await machine.run()).read, false);
  machine.bench.later(1);
  assert.equal((await machine.run()).read, true);
});

test('the whole inventory is read and sent once a day, whatever rests', async (t) => {
  const machine = await settled(t);
  machine.bench.later(DAY);
  const { read, told } = await machine.run();
  assert.equal(read, true);
  assert.deepEqual(told.sort(), ['present a', 'present deep', 'present in', 'present linked', 'present x']);
});

test('all is read once a day where it is sent whole more seldom, and sent when it is due', async (t) => {
  const machine = await settled(t);
  machine.bench.snapshotMs = 7 * DAY;
  machine.bench.later(DAY);
  assert.deepEqual(await machine.run(), { read: true, told: [] });
  machine.bench.later(DAY - 1);
  assert.equal((await machine.run()).read, false);
  machine.bench.snapshotMs = DAY;
  assert.equal((await machine.run()).told.length, 5);
});

test('a source that does not say what it rests on is read every time', async (t) => {
  const machine = new Machine(t);
  machine.restsOnFiles = false;
  await machine.run();
  machine.rest();
  assert.equal((await machine.run()).read, true);
});

test('a source that failed is read again, and so are those beside it', async (t) => {
  const machine = await settled(t);
  appendFileSync(machine.path(), 'b=1\n');
  machine.meanwhile = () => {
    throw new Error('the disk is slow today');
  };
  assert.equal((await machine.bench.run(machine.agent)).outcome, 'failed');
  machine.meanwhile = () => {};
  machine.rest();
  assert.deepEqual(await machine.run(), { read: true, told: ['set b'] });
});

test('a log that has not grown is not read, and tells its next line once', async (t) => {
  const bench = new Bench(t);
  bench.rootfs = tree(t, { 'var/log/it': 'one\n' });
  let reads = 0;
  const agent = defineLog({
    name: 'lines',
    summary: 'lines',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ line: z.string() }),
    actions: { said: 'said' },
    sources: {
      async *log({ system, restsOn, now }, cursor) {
        restsOn(await stamp(system, ['/var/log/it']));
        reads++;
        const lines = text((await system.read('/var/log/it'))!)
          .split('\n')
          .slice(0, -1);
        for (const line of lines.slice(Number(cursor ?? 0)))
          yield { event: { time: now.toISOString(), action: 'said', data: { line } } };
        yield { cursor: lines.length };
      },
    },
  }) as Agent;
  const run = async (): Promise<number> => {
    bench.now = new Date(Date.now() + 10_000);
    return (await bench.run(agent)).events;
  };
  assert.deepEqual([await run(), await run(), reads], [1, 0, 1]);
  appendFileSync(join(bench.rootfs, 'var/log/it'), 'two\n');
  assert.deepEqual([await run(), await run(), reads], [1, 0, 2]);
  bench.later(DAY);
  assert.deepEqual(
    [(await bench.run(agent)).events, reads],
    [0, 3],
    'it is looked at once a day, whatever rests',
  );
  bench.later(-60_000);
  assert.deepEqual([(await bench.run(agent)).events, reads], [0, 4], 'the clock went back');
  assert.deepEqual(
    bench.events('lines').map(({ data }) => data!.line),
    ['one', 'two'],
  );
});
