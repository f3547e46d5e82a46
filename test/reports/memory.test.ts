/** What a report holds while it runs, seen from outside: the built command, on a store with much more than it may hold. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { openStore } from '../../src/store/store.ts';
import { FakeNode } from '../helpers/batches.ts';
import { temporary } from '../helpers/tree.ts';
import { at } from '../store/stores.ts';
import { log } from './nodes.ts';

const bin = fileURLToPath(new URL('../../bin/dsac.js', import.meta.url));
/** As little room for garbage as the engine goes along with: what is left is what is held. */
const HEAP = ['--max-semi-space-size=2', '--max-old-space-size=32'];
/** Says on stderr, at the end, how much memory was resident at most, in KiB. */
const TELL =
  'data:text/javascript,process.on("exit",()=>process.stderr.write(""+process.resourceUsage().maxRSS))';
const EVENTS = 25_000;
/** Of each event, about; all of them are 100 MiB. */
const BYTES = 4000;

/** A store with one log of many large events, ten minutes apart. */
async function makeStore(home: string): Promise<void> {
  const store = await openStore(undefined, { home });
  const event = { time: at('00:00'), action: 'upgraded', item: 'dpkg/p/amd64', source: 'dpkg' };
  await store.load([log('package-history', '00:00', [event], new FakeNode())]);
  await sql`
    insert into events (batch, idx, node, agent, time, collected, action, item, source, derived, by_json)
    with recursive n(n) as (select 1 union all select n + 1 from n where n < ${EVENTS})
    select batch, n, node, agent, strftime('%Y-%m-%d %H:%M:%f', time, n || '0 minutes'), collected, action, item, source, derived,
      '{"command":"' || n || hex(zeroblob(${BYTES / 2})) || '"}' from events, n`.execute(store.db);
  await store.close();
}

/** Runs a report to its end and answers how much it wrote, and the most memory that it had resident, in MiB. */
async function run(
  home: string,
  name: string,
  format: string,
  until: string,
): Promise<{ written: number; peak: number }> {
  const window = ['--since', '2026-11-23', '--until', until];
  const child = spawn(
    process.execPath,
    [...HEAP, '--import', TELL, bin, 'report', name, ...window, '--format', format, '--home', home],
    { env: { ...process.env, DSAC_CONFIG: '', NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<number | null>((settle) => child.once('close', settle));
  let written = 0;
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  for await (const piece of child.stdout) written += (piece as Buffer).length;
  assert.equal(await ended, 0, stderr);
  return { written: written / 1024 ** 2, peak: Number(stderr) / 1024 };
}

test('P9: what a report holds does not grow with its window', async (t) => {
  const home = temporary(t);
  await makeStore(home);
  for (const [name, format] of [
    ['packages', 'csv'],
    ['packages', 'ndjson'],
    ['changes', 'csv'],
  ] as const) {
    const few = await run(home, name, format, '2026-11-24');
    const all = await run(home, name, format, '2028-01-01');
    t.diagnostic(
      `${name} as ${format}: ${few.peak.toFixed(0)} MiB for ${few.written.toFixed(1)}, ${all.peak.toFixed(0)} MiB for ${all.written.toFixed(1)}`,
    );
    assert.ok(
      all.peak < few.peak + 50,
      `${name} as ${format}: ${few.peak} MiB for a day, ${all.peak} MiB for all`,
    );
  }
});
