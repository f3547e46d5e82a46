import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mysql from '../../dispatchers/mysql.ts';
import { Counter } from '../helpers/handlers.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';
import { loadedInto, refusesOneAlone } from '../suites/loading-handler.ts';

handlerConformance(mysql, {
  folder: 'dispatchers',
  destination: async (t) => {
    const url = await ownDatabase(t);
    return { options: { url }, arrived: () => loadedInto(url) };
  },
  down: () => ({ host: '127.0.0.1', port: 1 }),
  skip: servicesLeftOut,
});

refusesOneAlone(mysql, 'mysql', ownDatabase, servicesLeftOut);

test('mysql: a password never shows in what is said when the server refuses it', {
  skip: servicesLeftOut,
}, async (t) => {
  const url = new URL(await ownDatabase(t));
  const password_file = join(temporary(t), 'password');
  writeFileSync(password_file, 'swordfish\n');
  url.username = 'dsac_test_nobody';
  await assert.rejects(new Counter(t).open(mysql, { url: url.href, password_file }), (error: Error) => {
    assert.equal(error.name, 'DestinationDown');
    assert.match(error.message, /dsac_test_nobody/);
    assert.doesNotMatch(error.message, /swordfish/);
    return true;
  });
});

test('mysql: parts may stand instead of a URL, but not beside one', () => {
  mysql.options.parse({ host: 'db', user: 'dsac' });
  assert.throws(() => mysql.options.parse({ url: 'mysql://db/dsac', host: 'db' }), /either url, or host/);
  assert.throws(() => mysql.options.parse({ url: 'sqlite:x' }), /expected mysql/);
});
