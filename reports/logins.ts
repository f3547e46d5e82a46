import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { sessionEventsIn } from '../src/store/events.ts';
import { loginRows } from '../src/store/login-rows.ts';
import { rowShape } from '../src/store/row-shape.ts';

const row = z.object({
  ...rowShape,
  user: z.string().nullable().describe('account'),
  tty: z.string().nullable().describe('terminal'),
  from: z.string().nullable().describe('address or host that the person came from'),
  service: z.string().nullable().describe('what let the person in: sshd, login, su-l'),
  end: z.string().nullable().describe('end of the session, UTC; null while it lasts'),
  duration_s: z.number().nullable().describe('seconds that the session lasted'),
  reason: z.string().nullable().describe('how the session ended: logout, shutdown, crash, …'),
  as: z.string().nullable().describe('sudo, su: the account acted as'),
  command: z.string().nullable().describe('sudo: the command'),
  method: z.string().nullable().describe('how sshd authenticated: publickey, password'),
  count: z.number().describe('how many equal attempts the row stands for'),
  invalid_user: z.boolean().describe('true: there was no such account, or it may not log in'),
  detail: z.string().nullable().describe('what else the source says: the forged line, what was lost'),
  source: z.string().nullable().describe('what tells of it, joined by +: wtmp+journal'),
});

type Row = z.infer<typeof row>;

/** `2d 3h`, `1h 5m`, `12m`, `40s`. */
function durationText(seconds: number): string {
  const s = Math.round(Math.abs(seconds));
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  const text = d > 0 ? `${d}d ${h}h` : h > 0 ? `${h}h ${m}m` : m > 0 ? `${m}m` : `${s}s`;
  return seconds < 0 ? `-${text}` : text;
}

function details({ as, command, method, reason, count, invalid_user, detail }: Row): string {
  const parts = [
    as && `as ${as}`,
    command,
    method,
    reason && reason !== 'logout' && reason,
    count > 1 && `${count} times`,
    detail ?? (invalid_user && 'no such account'),
  ];
  return parts.filter((part) => typeof part === 'string').join(', ');
}

/** A session is one row, at its login; one that began before the window is a row at its logout. */
export default defineReport<Row>({
  name: 'logins',
  summary: 'logins with their logouts, failed attempts, su and sudo, boots',
  since: '7d',
  row,
  columns: [
    { key: 'time' },
    { key: 'host' },
    { key: 'action' },
    { key: 'user' },
    { key: 'from' },
    { key: 'tty' },
    { key: 'service' },
    { key: 'end' },
    {
      key: 'duration_s',
      title: 'for',
      text: ({ duration_s }) => (duration_s === null ? '' : durationText(duration_s)),
    },
    { key: 'command', title: 'details', text: details },
  ],
  rows: (store, scope) => loginRows(sessionEventsIn(store, scope), scope),
});
