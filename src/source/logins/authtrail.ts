/**
 * Facts about authentication, in the order of a log, to events: pairs logins with logouts by process, counts an attempt once though sshd tells it in
 * several lines, and joins what sudo splits.
 */
import * as z from 'zod';
import { type AuthFact, isLoginService, isSshService, sudoSchema } from './authmessage.ts';
import {
  itemKey,
  type LoginData,
  type LoginEvent,
  loginEvent,
  OpenSessions,
  openSchema,
  type Session,
} from './sessions.ts';

const sayingSchema = z.strictObject({
  time: z.string().describe('RFC 3339 UTC with milliseconds'),
  stamp: z.string().describe('the time as precise as the log has it: makes item keys unique'),
  program: z.string().describe('the program, as far as the log tells'),
  pid: z.number().optional().describe('its process id'),
  uid: z.number().optional().describe('numeric id of the user who ran it, where the kernel vouches for it'),
  count: z
    .number()
    .optional()
    .describe('how often the same was said, where the log counts instead of repeating'),
});

/** Who said something, and when. */
export type Saying = z.infer<typeof sayingSchema>;

const waitingSudoSchema = z.strictObject({
  fact: sudoSchema,
  saying: sayingSchema,
  hardCut: z.boolean().describe('whether its last piece was cut inside a word'),
});

export const trailStateSchema = z.strictObject({
  open: openSchema.describe('open sessions by process id'),
  tried: z
    .array(z.tuple([z.string(), z.enum(['refused', 'failed']), z.string().optional()]))
    .describe('processes whose failure was reported, before any credential or by one, and for which user'),
  sudo: waitingSudoSchema.optional().describe('a sudo command that may go on in the next line'),
});

/** What must be remembered between two runs. */
export type TrailState = z.infer<typeof trailStateSchema>;

/** The last failure of a process that was reported. A state saved by an older version has no user. */
interface Tried {
  readonly how: 'refused' | 'failed';
  readonly user: string | undefined;
}

type Attempt = Extract<AuthFact, { what: 'refused' | 'failed' | 'gone' }>;

/** Most processes that are remembered for their failures: an attack may leave many without a closing line. */
const MAX_TRIED = 1000;
/** How long a sudo command waits for its continuation: sudo writes all parts at once. */
const SUDO_WAITS_MS = 1000;
/** Shorter pieces of a sudo command were cut at a space (sudo's default line is 960 bytes). */
const HARD_CUT = 256;

const slotOf = ({ pid }: Saying): string => String(pid ?? '-');

export class AuthTrail {
  readonly #source: string;
  readonly #sessions: OpenSessions;
  readonly #tried: Map<string, Tried>;
  #sudo: z.infer<typeof waitingSudoSchema> | undefined;

  constructor(source: string, state: TrailState = { open: [], tried: [] }) {
    this.#source = source;
    this.#sessions = new OpenSessions(state.open);
    this.#tried = new Map(state.tried.map(([slot, how, user]) => [slot, { how, user }]));
    this.#sudo = state.sudo;
  }

  get sessions(): OpenSessions {
    return this.#sessions;
  }

  state(): TrailState {
    // An undefined member would come back from JSON as null.
    const tried = Array.from(this.#tried, ([slot, { how, user }]): TrailState['tried'][number] =>
      user === undefined ? [slot, how] : [slot, how, user],
    );
    return { open: this.#sessions.saved(), tried, sudo: this.#sudo };
  }

  /** Events of one fact. */
  *read(fact: AuthFact, saying: Saying): Generator<LoginEvent> {
    if (fact.what === 'sudo-more') {
      yield* this.#sudoMore(fact, saying);
      return;
    }
    yield* this.settle(saying);
    switch (fact.what) {
      case 'accepted':
        this.#tried.delete(slotOf(saying));
        yield* this.#begin(saying, { ...accepted(fact), service: 'sshd' });
        break;
      case 'opened':
        if (isLoginService(fact.service) && !this.#sessions.get(slotOf(saying)))
          yield* this.#begin(saying, { user: fact.user, service: fact.service });
        break;
      case 'closed':
        if (isLoginService(fact.service) || isSshService(fact.service))
          yield* this.#sessions.end(slotOf(saying), saying.time, 'logout');
        break;
      case 'refused':
      case 'failed':
      case 'gone':
        yield* this.#attempt(fact, saying);
        break;
      case 'sudo':
        this.#sudo = { fact, saying, hardCut: false };
        break;
      case 'su':
        yield this.#event(fact.ok ? 'su' : 'su-failed', saying, {
          user: fact.user,
          as: fact.as,
          tty: fact.tty,
        });
    }
  }

  /** Gives out a sudo command that waits for its continuation, unless `saying` may be that. */
  *settle(saying: Saying): Generator<LoginEvent> {
    if (this.#sudo === undefined) return;
    if (saying.program === 'sudo') yield* this.#release();
    else yield* this.finish(saying.time);
  }

  /** What is left to say at the end of the input, at `now`. */
  *finish(now: string): Generator<LoginEvent> {
    if (this.#sudo !== undefined && Date.parse(now) - Date.parse(this.#sudo.saying.time) > SUDO_WAITS_MS)
      yield* this.#release();
  }

  *#release(): Generator<LoginEvent> {
    if (this.#sudo === undefined) return;
    const { fact, saying } = this.#sudo;
    this.#sudo = undefined;
    const { user, as, command, tty, cwd, count } = fact;
    const action = fact.refused === undefined ? 'sudo' : 'sudo-failed';
    yield this.#event(action, saying, { user, as, command, tty, cwd, count, detail: fact.refused });
  }

  /** A line that claims to be a program's and is not. */
  forged(saying: Saying, claimed: string, writer: string, message: string): LoginEvent {
    const detail = `claims to be ${claimed}, written by ${writer}: ${message.slice(0, 1000)}`;
    return this.#event('forged', saying, { service: claimed, detail });
  }

  /** systemd-logind's word that a session ended. */
  *logindEnd(saying: Saying, session: string, leader: number): Generator<LoginEvent> {
    const slot = String(leader);
    if (this.#sessions.get(slot)?.session === session) yield* this.#sessions.end(slot, saying.time, 'logout');
  }

  /** systemd-logind's own word for a session: its id, or a login that no other message told. */
  *logind(saying: Saying, user: string, session: string, leader: number): Generator<LoginEvent> {
    const slot = String(leader);
    if (this.#sessions.get(slot)) this.#sessions.amend(slot, { session });
    else yield* this.#begin({ ...saying, pid: leader }, { user, session, service: 'systemd-logind' });
  }

  *#begin(saying: Saying, fields: Partial<Session>): Generator<LoginEvent> {
    const { time, pid, stamp } = saying;
    const item = itemKey('session', this.#source, fields.service ?? '-', slotOf(saying), stamp);
    yield* this.#sessions.begin(slotOf(saying), { item, start: time, ...fields, pid });
  }

  /**
   * One attempt is one event. sshd tells that it refuses a user, then each credential of that user that failed: the first of these is the attempt
   * already told. Another user under the same process id is another attempt. It also tells of connections that end before authentication: an
   * attempt when nothing else was told of that process (the name there is escaped twice and cut elsewhere, so it is not compared).
   */
  *#attempt(fact: Attempt, saying: Saying): Generator<LoginEvent> {
    const slot = slotOf(saying);
    const last = this.#tried.get(slot);
    if (fact.what === 'gone') {
      this.#tried.delete(slot);
      if (!fact.before) yield* this.#leave(fact, saying);
      else if (last === undefined)
        yield this.#failure(fact, saying, saying.count ?? 1, 'left before it authenticated');
      return;
    }
    if (saying.pid !== undefined) this.#remember(slot, { how: fact.what, user: fact.user });
    const before = last?.user === undefined || last.user === fact.user ? last?.how : undefined;
    const told = fact.what === 'refused' ? (before === undefined ? 0 : 1) : before === 'refused' ? 1 : 0;
    const count = (saying.count ?? 1) - told;
    if (count > 0) yield this.#failure(fact, saying, count, fact.detail);
  }

  #failure(fact: Attempt, saying: Saying, count: number, detail: string | undefined): LoginEvent {
    const isInvalid = fact.what === 'refused' || fact.invalid === true;
    return this.#event('failed', saying, {
      user: fact.user,
      from: fact.from,
      ...(fact.what === 'failed' && { method: fact.method, tty: fact.tty }),
      service: saying.program,
      invalid_user: isInvalid || undefined,
      count: count > 1 ? count : undefined,
      detail,
    });
  }

  /** sshd without PAM tells only that the connection ended, and from another process than the one that let the person in. */
  *#leave({ user, from, port }: Attempt & { what: 'gone' }, saying: Saying): Generator<LoginEvent> {
    for (const [slot, session] of this.#sessions.entries()) {
      if (session.user !== user || session.from !== from || session.port !== port) continue;
      yield* this.#sessions.end(slot, saying.time, 'logout');
      return;
    }
  }

  #remember(slot: string, tried: Tried): void {
    this.#tried.delete(slot);
    this.#tried.set(slot, tried);
    if (this.#tried.size > MAX_TRIED) this.#tried.delete(this.#tried.keys().next().value!);
  }

  *#sudoMore(fact: { user: string; command: string }, saying: Saying): Generator<LoginEvent> {
    const waiting = this.#sudo;
    if (
      waiting?.fact.command === undefined ||
      waiting.fact.user !== fact.user ||
      waiting.saying.pid !== saying.pid
    ) {
      yield this.#event('sudo', saying, {
        user: fact.user,
        command: fact.command,
        detail: 'continues a command whose beginning was reported before',
      });
      return;
    }
    const command = waiting.fact.command + (waiting.hardCut ? '' : ' ') + fact.command;
    const hardCut = fact.command.length >= HARD_CUT && !fact.command.includes(' ');
    this.#sudo = { ...waiting, fact: { ...waiting.fact, command }, hardCut };
  }

  #event(action: string, saying: Saying, data: LoginData): LoginEvent {
    const item = itemKey(action, this.#source, slotOf(saying), saying.stamp);
    return loginEvent(saying.time, action, item, { ...data, pid: saying.pid }, actor(action, saying, data));
  }
}

/** Who acted: the caller of su and sudo. A stranger who failed to log in has only claimed a name. */
function actor(action: string, { uid }: Saying, { user, command }: LoginData): LoginEvent['by'] {
  if (!action.startsWith('su')) return uid === undefined ? undefined : { uid };
  return {
    ...(user !== undefined && { user }),
    ...(uid !== undefined && { uid }),
    ...(command !== undefined && { command }),
  };
}

function accepted({ user, from, port, method }: Extract<AuthFact, { what: 'accepted' }>): Partial<Session> {
  return { user, from, port, method };
}
