import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Home } from '../helpers/dsac.ts';

test('a source that cannot be read is told once under cron, again when its reason changes or a day has passed, and always when asked for', async (t) => {
  const home = new Home(t);
  await home.run('init');
  mkdirSync(join(home.path, 'bin'), { mode: 0o755 });
  const source = join(home.path, 'bin/source');
  const says = (text: string): void => {
    writeFileSync(source, `#!/bin/sh\n${text}\n`);
    chmodSync(source, 0o755);
  };
  const others = ['logins', 'package-history', 'packages', 'services', 'users'];
  writeFileSync(
    join(home.path, 'etc/dsac/dsac.yaml'),
    `agents:\n  mine: { type: exec, kind: log, every: 1ms, command: [${source}] }\n${others.map((name) => `  ${name}: { enabled: false }\n`).join('')}`,
  );
  const cron = async (): Promise<string> => (await home.try('agent')).stderr;
  says('echo dark >&2; exit 1');
  assert.match(await cron(), /^dsac-agent: mine: failed: exec: .*dark\n$/);
  const again = await home.try('agent');
  assert.deepEqual([again.code, again.stderr], [69, '']);
  assert.match((await home.try('agent', 'mine')).stderr, /dark/);
  says('echo darker >&2; exit 1');
  assert.match(await cron(), /darker/);
  assert.equal(await cron(), '');
  const told = join(home.path, 'var/lib/dsac/agents/told.json');
  writeFileSync(told, readFileSync(told, 'utf8').replace(/"time":"\d{4}/, '"time":"2020'));
  assert.match(await cron(), /darker/);
  says('exit 0');
  assert.equal(await cron(), '');
  says('echo darker >&2; exit 1');
  assert.match(await cron(), /darker/);
});

test('only the sources that the configuration names are read, and a name that is none is refused with its line', async (t) => {
  const config = 'agents:\n  logins: { sources: [wtmp] }\n';
  const home = new Home(t);
  await home.run('init');
  const file = join(home.path, 'etc/dsac/dsac.yaml');
  writeFileSync(file, config);
  await home.run('agent', 'logins');
  const receipt = await home.run('spool', 'cat', 'receipts.*');
  const { data } = JSON.parse(receipt.split('\n')[1]!);
  assert.deepEqual(
    data.sources.map(({ name }: { name: string }) => name),
    ['wtmp'],
  );
  writeFileSync(file, config.replace('wtmp', 'wtpm'));
  const { code, stderr } = await home.try('agent', 'logins');
  assert.equal(code, 78);
  assert.match(
    stderr,
    /dsac\.yaml:2: agents\.logins\.sources.*: logins has no source 'wtpm': did you mean 'wtmp'\?/,
  );
});
