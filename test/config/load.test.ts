import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { formatDuration, parseDuration, parseTime } from '../../src/config/time.ts';
import { DsacError } from '../../src/errors.ts';
import { configuredPosts, configuredTasks } from '../../src/run/configured.ts';
import { temporary } from '../helpers/tree.ts';

async function load(t: TestContext, text: string): ReturnType<typeof loadConfig> {
  const file = join(temporary(t), 'dsac.yaml');
  writeFileSync(file, text);
  return loadConfig(file, true);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof DsacError, String(error));
    assert.ok(error.kind === 'config' || error.kind === 'usage', error.kind);
    return `${error.message} | ${error.hint ?? ''}`.replace(/\/\S*\/dsac\.yaml/, 'dsac.yaml');
  }
  throw new Error('it was accepted');
}

test('no configuration file is a configuration: all agents, the directory dispatcher, archive and store', async (t) => {
  const config = await loadConfig(join(temporary(t), 'none.yaml'), false);
  const posts = await configuredPosts(config, 'dispatchers', []);
  assert.deepEqual(
    posts.map(({ name, handler }) => [name, handler.name]),
    [['local', 'directory']],
  );
  assert.deepEqual(
    (await configuredPosts(config, 'processors', [])).map(({ name }) => name),
    ['archive', 'store'],
  );
  assert.deepEqual(
    (await configuredTasks(config, [])).map(({ name }) => name),
    ['logins', 'package-history', 'packages', 'services', 'users'],
  );
});

const mistakes: Record<string, [string, string]> = {
  'an unknown section': [
    'host: web1\nagnets: {}\n',
    "dsac.yaml:2: agnets: unknown key | did you mean 'agents'?",
  ],
  'a wrong type': ['host: [web1]\n', 'dsac.yaml:1: host: Invalid input: expected string, received array | '],
  'a duration that is none': [
    'agents:\n  packages:\n    every: soon\n',
    "dsac.yaml:3: agents.packages.every: 'soon' is not a duration: use a number and a unit, such as 90s, 15m, 36h, 7d, 2w or 1h30m | ",
  ],
  'a glob that is not closed': [
    "dispatchers:\n  here: { type: directory, agents: ['[x'] }\n",
    "dsac.yaml:2: dispatchers.here.agents.0: not a glob over agent names: use a name, or patterns such as '*', 'package*' or '{logins,users}' | ",
  ],
  'YAML that is none': ['host: "web1\n', 'dsac.yaml:2:1: not valid YAML: Missing closing "quote | '],
  'a map as a key': [
    '{host: a}: b\n',
    'dsac.yaml:1:1: not valid YAML: With stringKeys, all keys must be strings | ',
  ],
  'a key given twice': ['host: a\nhost: b\n', 'dsac.yaml:2:1: not valid YAML: Map keys must be unique | '],
};

for (const [what, [text, expected]] of Object.entries(mistakes)) {
  test(`${what} is refused with file, line, key and what is allowed`, async (t) => {
    assert.equal(await refusal(load(t, text)), expected);
  });
}

test('a plugin’s own options are checked with their line, and the nearest key is named', async (t) => {
  const config = await load(t, 'dispatchers:\n  here:\n    type: directory\n    paht: /x\n');
  assert.equal(
    await refusal(configuredPosts(config, 'dispatchers', [])),
    "dsac.yaml:4: dispatchers.here.paht: unknown key | did you mean 'path'?",
  );
});

test('an unknown handler type is refused with the nearest that exists', async (t) => {
  const config = await load(t, 'dispatchers:\n  broker: { type: ampq }\n');
  assert.match(
    await refusal(configuredPosts(config, 'dispatchers', [])),
    /dsac\.yaml:2: dispatchers\.broker\.type: .*'ampq'.*did you mean 'amqp'/,
  );
});

test('an unknown agent on the command line is refused with the nearest that exists', async (t) => {
  const config = await load(t, '');
  assert.equal(
    await refusal(configuredTasks(config, ['pakages'])),
    "unknown agent 'pakages' | did you mean 'packages'?",
  );
});

test('an agent can be switched off, and one of the user’s own added', async (t) => {
  const config = await load(
    t,
    'agents:\n  users: { enabled: false }\n  mine: { type: exec, command: [/bin/true], kind: log, every: 5m }\n',
  );
  const tasks = await configuredTasks(config, []);
  assert.deepEqual(
    tasks.map(({ name }) => name),
    ['logins', 'mine', 'package-history', 'packages', 'services'],
  );
  assert.equal(tasks[1]!.everyMs, 300_000);
});

test('a processor may be of a dispatcher’s type, so that a relay is configuration', async (t) => {
  const config = await load(t, 'processors:\n  relay: { type: directory, path: /srv/dsac/in }\n');
  assert.equal((await configuredPosts(config, 'processors', []))[0]!.handler.name, 'directory');
});

const now = new Date('2026-11-24T12:00:00.000Z');

test('times are durations ago, dates in UTC, or RFC 3339', () => {
  assert.equal(parseTime('7d', now, '--since').toISOString(), '2026-11-17T12:00:00.000Z');
  assert.equal(parseTime('99999999d', now, '--since').toISOString(), '1970-01-01T00:00:00.000Z');
  assert.equal(parseTime('1h30m', now, '--since').toISOString(), '2026-11-24T10:30:00.000Z');
  assert.equal(parseTime('2026-11-01', now, '--since').toISOString(), '2026-11-01T00:00:00.000Z');
  assert.equal(
    parseTime('2026-11-01T08:30:00+02:00', now, '--since').toISOString(),
    '2026-11-01T06:30:00.000Z',
  );
});

for (const text of [
  'yesterday',
  '2026-02-30',
  '2026-02-30T08:30:00Z',
  '2026-13-01',
  '7',
  'd',
  '',
  '2026-11-01T08:30:00',
  '-7d',
  '99999999999999999d',
]) {
  test(`'${text}' is no time`, () => {
    assert.throws(() => parseTime(text, now, '--since'), {
      name: 'DsacError',
      kind: 'usage',
      message: `--since: '${text}' is not a time`,
    });
  });
}

test('a duration written out reads back as itself', () => {
  for (const ms of [1, 90_000, 3_600_000, 5_400_000, 604_800_000])
    assert.equal(parseDuration(formatDuration(ms)), ms);
});

test('TLS that would not be used is refused: url says amqp, and the password would go as it is', async (t) => {
  const broker = '{ type: amqp, url: amqp://h, tls: { ca: ca.pem } }';
  const config = await load(t, `dispatchers:\n  b: ${broker}\n`);
  assert.match(
    await refusal(configuredPosts(config, 'dispatchers', [])),
    /^dsac\.yaml:2: dispatchers\.b\.tls: is for amqps:\/\/, but url says amqp:\/\//,
  );
  const misspelt = await load(t, 'dispatchers:\n  b: { type: amqp, url: amqp://h, exchnge: x }\n');
  assert.match(
    await refusal(configuredPosts(misspelt, 'dispatchers', [])),
    /^dsac\.yaml:2: dispatchers\.b\.exchnge: unknown key \| did you mean 'exchange'\?/,
  );
  const used = await load(t, 'dispatchers:\n  b: { type: amqp, url: AMQPS://h, tls: { ca: ca.pem } }\n');
  assert.equal((await configuredPosts(used, 'dispatchers', [])).length, 1);
});
