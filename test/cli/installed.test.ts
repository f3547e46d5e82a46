/** The build as it is installed: bin/, dist/ and package.json, with none of the packages that it was built from. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from '../../src/config/project.ts';
import { ownDatabase, ownQueue, servicesLeftOut } from '../helpers/services.ts';
import { temporary } from '../helpers/tree.ts';

function install(folder: string): (...args: string[]) => string {
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(projectRoot, part), join(folder, part), { recursive: true });
  const home = join(folder, 'home');
  mkdirSync(join(home, 'etc/dsac'), { recursive: true });
  return (...args) =>
    execFileSync(process.execPath, [join(folder, 'bin/dsac.js'), ...args, '--home', home], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', NODE_PATH: '' },
    });
}

test('an installed build does the whole job without node_modules', (t) => {
  const folder = temporary(t);
  const dsac = install(folder);
  dsac('init');
  dsac('agent', 'users');
  dsac('dispatch');
  dsac('process');
  assert.match(dsac('report', 'completeness'), /^complete: 1 of 1 nodes\n/);
  assert.match(dsac('report', 'users', '--since', '1h', '--format', 'csv'), /^time,/);
  assert.match(dsac('verify'), /verified \d+ batches/);
});

test('an installed build talks to RabbitMQ and MariaDB without node_modules', {
  skip: servicesLeftOut,
}, async (t) => {
  const folder = temporary(t);
  const dsac = install(folder);
  const { url, exchange, queue } = ownQueue(t);
  const broker = `url: '${url}', exchange: ${exchange}`;
  writeFileSync(
    join(folder, 'home/etc/dsac/dsac.yaml'),
    `dispatchers: { broker: { type: amqp, ${broker} } }\nconsume: { ${broker}, queue: ${queue} }\nstore: { url: '${await ownDatabase(t)}' }\n`,
  );
  dsac('init');
  dsac('consume', '--setup');
  dsac('agent', 'users');
  dsac('dispatch');
  dsac('consume');
  assert.equal(readdirSync(join(folder, 'home/var/spool/dsac/in/new')).length, 1);
  dsac('process');
  assert.match(dsac('report', 'completeness'), /^complete: 1 of 1 nodes\n/);
});
