/**
 * What sshd, sudo, su, login and PAM write to the log about authentication: one message to one fact. User names in these messages can be any text
 * that a stranger typed, ` from 10.9.9.9 port 22 ssh2` included: where a name is not proven to be an account, the address is read from the message's end.
 */
import * as z from 'zod';

/** sudo ran a command, or refused to. */
export const sudoSchema = z.strictObject({
  what: z.literal('sudo'),
  user: z.string().describe('who called sudo'),
  as: z.string().describe('account to act as'),
  command: z.string().optional().describe('command line, as sudo wrote it'),
  tty: z.string().optional().describe('terminal; absent when there was none'),
  cwd: z.string().optional().describe('directory'),
  refused: z.string().optional().describe('why sudo refused; absent when it did not'),
  count: z.number().optional().describe('wrong passwords before it gave up'),
});

/** What one message says. */
export type AuthFact =
  /** sshd let someone in. */
  | { what: 'accepted'; user: string; from: string; port: number; method: string }
  /** sshd or login refused a credential. */
  | {
      what: 'failed';
      user: string;
      from?: string;
      tty?: string;
      method?: string;
      invalid?: boolean;
      detail?: string;
    }
  /** sshd refuses this user before any credential: there is no such account, or it may not log in. */
  | { what: 'refused'; user: string; from?: string; detail?: string }
  /** A connection ended; `before` authentication, or after it. */
  | { what: 'gone'; user: string; from: string; port: number; before: boolean; invalid: boolean }
  | { what: 'opened' | 'closed'; user: string; service: string }
  | z.infer<typeof sudoSchema>
  /** The rest of a long sudo command. */
  | { what: 'sudo-more'; user: string; command: string }
  | { what: 'su'; user: string; as: string; tty?: string; ok: boolean };

type Pattern = readonly [pattern: RegExp, fact: (group: (string | undefined)[]) => AuthFact | undefined];

/** The first pattern that fits decides. */
function firstOf(patterns: readonly Pattern[], message: string): AuthFact | undefined {
  for (const [pattern, fact] of patterns) {
    const match = pattern.exec(message);
    if (match !== null) return fact(match.slice(1));
  }
  return undefined;
}

// The name of an accepted user is an account's: the first ` from ` is sshd's own. Behind it a certificate's id may hold anything.
const sshd: readonly Pattern[] = [
  [
    /^Accepted (\S+) for (.*?) from (\S+) port (\d+)/s,
    ([method, user, from, port]) => ({
      what: 'accepted',
      user: user!,
      from: from!,
      port: Number(port),
      method: method!,
    }),
  ],
  [
    /^Failed (\S+) for (invalid user )(.*) from (\S+) port \d+/s,
    ([method, , user, from]) => ({
      what: 'failed',
      user: user!,
      from: from!,
      method: method!,
      invalid: true,
    }),
  ],
  [
    /^Failed (\S+) for (.*?) from (\S+) port \d+/s,
    ([method, user, from]) => ({ what: 'failed', user: user!, from: from!, method: method! }),
  ],
  [
    /^(?:Invalid|Illegal) user (.*) from (\S+)(?: port \d+)?$/s,
    ([user, from]) => ({ what: 'refused', user: user!, from: from!, detail: 'no such account' }),
  ],
  [
    /^User (.*) from (\S+) not allowed because (.*)$/s,
    ([user, from, why]) => ({ what: 'refused', user: user!, from: from!, detail: why! }),
  ],
  [
    /^User (.*) not allowed because (.*)$/s,
    ([user, why]) => ({ what: 'refused', user: user!, detail: why! }),
  ],
  [
    /^ROOT LOGIN REFUSED FROM (\S+)/,
    ([from]) => ({ what: 'refused', user: 'root', from: from!, detail: 'root may not log in' }),
  ],
  [
    /^(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) (invalid|authenticating) user (.*) (\S+) port (\d+)(?:: [^[]*)?(?: \[preauth\])?$/s,
    ([stage, user, from, port]) => ({
      what: 'gone',
      user: user!,
      from: from!,
      port: Number(port),
      before: true,
      invalid: stage === 'invalid',
    }),
  ],
  [
    /^Disconnected from user (.*) (\S+) port (\d+)$/s,
    ([user, from, port]) => ({
      what: 'gone',
      user: user!,
      from: from!,
      port: Number(port),
      before: false,
      invalid: false,
    }),
  ],
];

const login: readonly Pattern[] = [
  [
    /^FAILED LOGIN(?: SESSION)?(?: \(?\d+\)?)?(?: on '?([^' ]+)'?)?(?: from '?([^' ]+)'?)?(?: for '?(.*?)'?)?, (.*)$/is,
    ([tty, from, user, detail]) => {
      // util-linux writes the terminal behind FROM where the login is local
      const local = from !== undefined && /^(?:tty|pts|console|hvc)/.test(from);
      const at = local ? { tty: from } : { ...(tty && { tty }), ...(from && { from }) };
      return { what: 'failed', user: user ?? '', ...at, detail: detail! };
    },
  ],
];

const su: readonly Pattern[] = [
  [
    /^(FAILED SU )?\(to ([^()]*)\) ([^()]*) on (\S+)$/,
    ([failed, as, user, tty]) => suFact(user!, as!, failed === undefined, tty),
  ],
  [
    /^(Successful|FAILED) su for (\S+) by (\S+)$/i,
    ([how, as, user]) => suFact(user!, as!, how?.toLowerCase() === 'successful'),
  ],
  [
    /^'su (.*)' (failed|succeeded) for (\S+) on (\S+)$/,
    ([as, how, user, tty]) => suFact(user!, as || 'root', how === 'succeeded', tty),
  ],
];

function suFact(user: string, as: string, ok: boolean, tty?: string): AuthFact {
  const terminal = tty?.replace(/^\/dev\//, '');
  return { what: 'su', user, as, ok, ...(terminal && terminal !== 'none' && { tty: terminal }) };
}

/** `(uid=1000)` behind a name is PAM's. */
const bare = (name: string): string => name.replace(/\(uid=\d+\)$/, '');

/** Services whose PAM sessions are no logins, or whose logins are told by messages of their own. */
const NO_LOGIN =
  /^(?:sshd?|su|su-l|sudo|sudo-i|runuser|runuser-l|cron|crond|atd|systemd-user|polkit-1|.*greeter|.*launch-environment)$/;

const pam: readonly Pattern[] = [
  [
    /^pam_\w+\(([^:)]*):session\): session (opened|closed) for user (.*?)(?: by .*)?$/s,
    ([service, what, user]) => ({ what: what as 'opened', user: bare(user!), service: service! }),
  ],
  [
    /^pam_(?:unix|sss)\(([^:)]*):auth\): authentication failure; .*\btty=(\S*) ruser=.*? rhost=(\S*)\s*(?:user=(.*))?$/s,
    ([service, tty, from, user]) => {
      if (NO_LOGIN.test(service!) || service === 'login') return undefined;
      return {
        what: 'failed',
        user: user ?? '',
        ...(tty && { tty }),
        ...(from && { from }),
        detail: `PAM service ${service}`,
      };
    },
  ],
];

const SUDO_FIELD = /^(?:HOST|TTY|CHROOT|PWD|USER|GROUP|TSID|ENV|COMMAND)=/;

/**
 * sudo's `user : reason ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id`. The reason is there when sudo refused; the command is the last field and
 * takes the rest of the message, whatever it holds.
 */
function sudoFact(message: string): AuthFact | undefined {
  const head = /^\s*(\S.*?) : (.*)$/s.exec(message);
  if (head === null) return undefined;
  const [user, rest] = [head[1]!, head[2]!];
  const more = /^\(command continued\) (.*)$/s.exec(rest);
  if (more !== null) return { what: 'sudo-more', user, command: more[1]! };
  const commandAt = rest.search(/(?:^| ; )COMMAND=/);
  const fields = (commandAt < 0 ? rest : rest.slice(0, commandAt)).split(' ; ');
  const value = (name: string): string | undefined =>
    fields.find((field) => field.startsWith(`${name}=`))?.slice(name.length + 1);
  const refused = SUDO_FIELD.test(fields[0]!) || fields[0] === '' ? undefined : fields[0]!;
  if (commandAt < 0 && value('USER') === undefined) return undefined;
  const command = commandAt < 0 ? undefined : rest.slice(rest.indexOf('COMMAND=', commandAt) + 8);
  const attempts = /^(\d+) incorrect password attempt/.exec(refused ?? '')?.[1];
  return {
    what: 'sudo',
    user,
    as: value('USER') ?? 'root',
    command,
    tty: value('TTY'),
    cwd: value('PWD'),
    refused,
    count: attempts === undefined ? undefined : Number(attempts),
  };
}

/** The name under which messages of a program are known: OpenSSH 10 logs as `sshd-session` and `sshd-auth`. */
export function programOf(name: string): string {
  return /^sshd-(?:session|auth)$/.test(name) ? 'sshd' : name;
}

/** What a message of a program says, or undefined when it is nothing about authentication. */
export function authFact(program: string, message: string): AuthFact | undefined {
  const known: Readonly<Record<string, readonly Pattern[]>> = { sshd, su, login };
  const own = Object.hasOwn(known, program)
    ? firstOf(known[program]!, message.replace(/^error: /, ''))
    : undefined;
  if (own !== undefined) return own;
  if (message.startsWith('pam_')) return firstOf(pam, message);
  return program === 'sudo' ? sudoFact(message) : undefined;
}

/** Whether PAM calls sshd so: Debian did `ssh` before 2014. */
export function isSshService(service: string): boolean {
  return service === 'sshd' || service === 'ssh';
}

/** Whether a PAM session of this service is a person's login that no other message tells. */
export function isLoginService(service: string): boolean {
  return !NO_LOGIN.test(service);
}
