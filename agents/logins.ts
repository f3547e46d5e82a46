import * as z from 'zod';
import { stamp } from '../src/host/stamp.ts';
import type { System } from '../src/host/system.ts';
import { absent, defineLog } from '../src/plugin/agent.ts';
import { findJournal, JOURNAL_FILES } from '../src/source/logins/journalctl.ts';
import {
  authlogEntries,
  btmpEntries,
  journalEntries,
  sourceGone,
  wtmpdbEntries,
  wtmpEntries,
} from '../src/source/logins/loginentries.ts';
import { loginFields } from '../src/source/logins/sessions.ts';
import { hasLog, logFiles } from '../src/source/rotated.ts';

const WTMP = '/var/log/wtmp';
const BTMP = '/var/log/btmp';
const DATABASES = ['/var/lib/wtmpdb/wtmp.db', '/var/log/wtmp.db'];
const AUTH_LOGS = ['/var/log/auth.log', '/var/log/secure'];

async function findAuthLog(system: System): Promise<string | undefined> {
  for (const path of AUTH_LOGS) if (await hasLog(system, path)) return path;
  return undefined;
}

async function findDatabase(system: System): Promise<string | undefined> {
  for (const path of DATABASES) if (((await system.stat(path))?.size ?? 0) > 0) return path;
  return undefined;
}

/**
 * sshd, su and sudo write to the journal and, where a syslog daemon runs, to auth.log as well. One of the two is read: the journal when it is on disk, since it
 * knows who wrote an entry; auth.log when the journal is lost at every boot.
 */
export default defineLog({
  name: 'logins',
  summary: 'logins and logouts, failed attempts, su and sudo, boots and shutdowns',
  every: '5m',
  options: z.strictObject({}),
  fields: loginFields,
  actions: {
    login: 'a session began',
    logout: 'a session ended; same item as its login',
    failed: 'someone failed to authenticate',
    boot: 'the machine started',
    shutdown: 'the machine was shut down; same item as its boot',
    sudo: 'sudo ran a command as another user',
    'sudo-failed': 'sudo refused to',
    su: 'someone became another user',
    'su-failed': 'someone failed to become another user',
    'clock-changed': 'the clock was set',
    forged: 'a log line claims to be of a program that did not write it, or that cannot be shown to have',
    'history-lost': 'a part of a log was gone before it was read',
    'record-damaged': 'records or lines that cannot be read were passed over',
  },
  sources: {
    async *wtmp(context, cursor) {
      context.restsOn(await stamp(context.system, [logFiles(WTMP)]));
      if (cursor === undefined && !(await hasLog(context.system, WTMP))) absent(`no ${WTMP}`);
      yield* wtmpEntries(context, WTMP, cursor);
    },
    async *btmp(context, cursor) {
      context.restsOn(await stamp(context.system, [logFiles(BTMP)]));
      if (cursor === undefined && !(await hasLog(context.system, BTMP))) absent(`no ${BTMP}`);
      yield* btmpEntries(context, BTMP, cursor);
    },
    async *wtmpdb(context, cursor) {
      context.restsOn(await stamp(context.system, DATABASES.map(logFiles)));
      const path = await findDatabase(context.system);
      if (path === undefined) yield* sourceGone('wtmpdb', context, cursor, `no ${DATABASES.join(' or ')}`);
      else yield* wtmpdbEntries(context, path, cursor);
    },
    async *journal(context, cursor) {
      const files = await stamp(context.system, JOURNAL_FILES);
      const journal = await findJournal(context.system);
      if (journal.missing !== undefined) {
        if (journal.restsOnFiles) context.restsOn(files);
        yield* sourceGone('journal', context, cursor, journal.missing);
        return;
      }
      const log = journal.kept === 'on disk' ? undefined : await findAuthLog(context.system);
      if (log !== undefined) absent(`the journal is in memory only, and ${log} has the same`);
      yield* journalEntries(context, cursor);
    },
    async *authlog(context, cursor) {
      const files = await stamp(context.system, [...AUTH_LOGS.map(logFiles), ...JOURNAL_FILES]);
      const found = await findAuthLog(context.system);
      if (found === undefined && cursor === undefined) context.restsOn(files);
      // What was read and is not there any more is for its reader to tell.
      const log = found ?? (cursor === undefined ? absent(`no ${AUTH_LOGS.join(' or ')}`) : AUTH_LOGS[0]!);
      const journal = await findJournal(context.system);
      if (journal.kept === 'on disk') absent(`the journal is on disk and has the same as ${log}`);
      const { restsOn } = context;
      const isWaiting = yield* authlogEntries(context, log, cursor);
      if (!isWaiting && journal.restsOnFiles) restsOn(files);
    },
  },
});
