/** syslog-ng as it is meant for what must not be lost: a file read through a reliable disk buffer into amqp(). It publishes without confirms. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed } from '../test/helpers/private-services.ts';
import { amqpUrl } from '../test/helpers/services.ts';
import type { Scope } from './bench.ts';
import { arrival } from './broker.ts';
import { EVENT_BYTES } from './stock.ts';

const DISK_BUFFER = 512 * 1024 * 1024;

function configuration(folder: string, exchange: string): string {
  const { hostname, port, username, password } = new URL(amqpUrl());
  return `@version: 3.38
source lines { file("${folder}/lines" flags(no-parse) follow-freq(0.1) multi-line-mode(none)); };
destination broker {
  amqp(
    host("${hostname}") port(${port || 5672}) vhost("/") username("${username}") password("${password}")
    exchange("${exchange}") exchange-declare(no) exchange-type("topic") routing-key("dsac.lines.syslog-ng")
    body("$MESSAGE") persistent(yes)
    disk-buffer(reliable(yes) disk-buf-size(${DISK_BUFFER}) mem-buf-size(67108864) dir("${folder}"))
  );
};
log { source(lines); destination(broker); flags(flow-control); };
`;
}

/** Sends `events` lines of the events' length to an exchange; answers how many a second arrived in its queue. */
export async function eventsASecond(
  { scratch, log }: Scope,
  exchange: string,
  events: number,
): Promise<number> {
  const folder = mkdtempSync(join(scratch, 'syslog-ng-'));
  mkdirSync(join(folder, 'run'));
  const line = (n: number): string => `${String(n).padStart(12, '0')} ${'x'.repeat(EVENT_BYTES - 14)}\n`;
  writeFileSync(join(folder, 'lines'), Array.from({ length: events }, (_, n) => line(n)).join(''));
  writeFileSync(join(folder, 'syslog-ng.conf'), configuration(folder, exchange));
  const own = ['cfgfile=syslog-ng.conf', 'persist-file=persist', 'pidfile=pid', 'control=control'];
  const child = spawn(
    installed('syslog-ng')!,
    ['--foreground', '--no-caps', '--stderr', ...own.map((option) => `--${option}`)],
    { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const gone = once(child, 'exit').then(([code]): never => {
    throw new Error(`syslog-ng ended with ${code}: ${said}`);
  });
  gone.catch(() => {});
  try {
    const { seconds, messages } = await arrival(exchange, events, gone);
    return messages / seconds;
  } catch (error) {
    log(`syslog-ng said: ${said.slice(-1000)}`);
    throw error;
  } finally {
    child.kill('SIGKILL');
    await gone.catch(() => {});
  }
}
