/**
 * A day of a fleet, in shape: what each logical node writes at which run of cron. How often agents run and what a receipt, a package or a unit looks
 * like is as on this machine; how often something happens is set down in `SHAPE`, since that differs from fleet to fleet.
 */
import type { Baseline, BaselineItem } from '../../src/run/state.ts';
import type { BatchEvent, Fields } from '../../src/spool/batch.ts';
import { INVENTORIES, type Inventory, type Model } from './model.ts';
import { dueIn, type Find, FleetNode, type Sent } from './node.ts';

/** Runs of cron a day, and ms from one to the next. */
export const RUNS = 288;
const RUN_MS = 300_000;
const RUNS_AN_HOUR = 12;

/** What happens on a node in a day. Ranges are drawn evenly. */
export const SHAPE = {
  /** Sessions, each with login and logout. */
  sessions: [0, 8],
  /** sudo in one session. */
  sudos: [0, 4],
  /** Failed attempts. */
  failures: [0, 20],
  /** Chance of an upgrade, how many packages it takes, and how many services it restarts. */
  upgrade: 1 / 4,
  upgraded: [1, 40],
  restarted: [1, 3],
  /** Chance of a service that restarts by itself, of a change of an account. */
  restart: 1 / 5,
  account: 1 / 50,
  /** Packages of a node; what its package managers' logs tell at first contact, in events. */
  packages: [500, 800],
  history: 400,
} as const;

/** Items in each inventory of a node that has no event of its inventories in the part of the day that is played. */
const SMALL = 8;

type Range = readonly [least: number, most: number];

/** Random numbers that are the same for the same seed (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number in a range, both ends included. */
  in([least, most]: Range): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

/** What a node does in the part of the day that is played, by run. */
interface Plan {
  /** Added to a run's number: nodes are not in step. */
  readonly phase: number;
  /** How long after the minute this node's cron begins, in ms. */
  readonly offset: number;
  readonly whole: number;
  readonly upgrade:
    | { readonly packages: number; readonly history: number; readonly count: number }
    | undefined;
  readonly restarts: ReadonlyMap<number, number>;
  readonly account: number | undefined;
  /** By run; how many of each. */
  readonly logins: ReadonlyMap<number, readonly string[]>;
}

/** A run in which what is due hourly is due. */
function hourly(dice: Dice, phase: number): number {
  return dice.below(RUNS / RUNS_AN_HOUR) * RUNS_AN_HOUR + ((RUNS_AN_HOUR - phase) % RUNS_AN_HOUR);
}

function loginsOf(dice: Dice): Map<number, string[]> {
  const logins = new Map<number, string[]>();
  const add = (run: number, action: string): void => {
    if (run < RUNS) logins.set(run, [...(logins.get(run) ?? []), action]);
  };
  for (let session = dice.in(SHAPE.sessions); session > 0; session--) {
    const [run, length] = [dice.below(RUNS), dice.below(RUNS_AN_HOUR)];
    add(run, 'login');
    for (let sudo = dice.in(SHAPE.sudos); sudo > 0; sudo--) add(run + dice.below(length + 1), 'sudo');
    add(run + length, 'logout');
  }
  for (let failed = dice.in(SHAPE.failures); failed > 0; failed--) add(dice.below(RUNS), 'failed');
  return logins;
}

function planOf(dice: Dice): Plan {
  const phase = dice.below(RUNS_AN_HOUR);
  const restarts = new Map<number, number>();
  let upgrade: Plan['upgrade'];
  if (dice.chance(SHAPE.upgrade)) {
    const packages = hourly(dice, phase);
    const before = packages - 3 * dice.below(4);
    const history = before < 0 ? packages : before;
    upgrade = { packages, history, count: dice.in(SHAPE.upgraded) };
    restarts.set(history, dice.in(SHAPE.restarted));
  }
  if (dice.chance(SHAPE.restart)) restarts.set(dice.below(RUNS), 1);
  return {
    phase,
    offset: dice.below(RUN_MS - 2000),
    whole: hourly(dice, phase),
    upgrade,
    restarts,
    account: dice.chance(SHAPE.account) ? hourly(dice, phase) : undefined,
    logins: loginsOf(dice),
  };
}

/** Whether any inventory is sent or changes in the first `runs` runs. */
function touchesInventories({ whole, upgrade, restarts, account }: Plan, runs: number): boolean {
  return [whole, upgrade?.packages, account, ...restarts.keys()].some(
    (run) => run !== undefined && run < runs,
  );
}

/** The fields that an upgrade leaves behind. */
function upgradedFields(fields: Fields, at: string): Fields {
  return { ...fields, version: `${String(fields.version)}+u1`, installed: at };
}

/** Some neighbours of an inventory, from a random place on. */
function some(items: readonly BaselineItem[], count: number, dice: Dice): BaselineItem[] {
  const from = dice.below(items.length);
  return [...items.slice(from), ...items.slice(0, from)].slice(0, count);
}

function changed(item: BaselineItem, action: string, time: string, fields: Fields): BatchEvent {
  return { time, action, item: item.key, source: item.source, before: item.fields, after: fields };
}

const LOGIN = { user: 'alice', from: '192.0.2.17', port: 50_122, service: 'sshd', pid: 4711 };

/** An event of the logins agent, as its sources tell it (docs/agents.md). */
function loginEvent(action: string, time: string, number: number): BatchEvent {
  const item = `session/journal/sshd/${4711 + number}`;
  if (action === 'login')
    return { time, action, item, source: 'journal', data: { ...LOGIN, method: 'publickey' } };
  if (action === 'logout')
    return {
      time,
      action,
      item,
      source: 'journal',
      data: { ...LOGIN, start: time, end: time, duration_s: 1260, reason: 'logout' },
    };
  if (action === 'sudo')
    return {
      time,
      action,
      item: `sudo/journal/${4711 + number}`,
      source: 'journal',
      by: { user: 'alice', command: '/usr/bin/systemctl status nginx', from: 'pts/0' },
      data: {
        user: 'alice',
        tty: 'pts/0',
        as: 'root',
        command: '/usr/bin/systemctl status nginx',
        cwd: '/home/alice',
      },
    };
  return {
    time,
    action,
    item: `failed/journal/sshd/${number}`,
    source: 'journal',
    data: {
      user: 'admin',
      from: '198.51.100.23',
      port: 40_000 + number,
      service: 'sshd',
      method: 'password',
      invalid_user: true,
    },
  };
}

/** A node of the fleet, and what it does. */
export class Member {
  readonly node: FleetNode;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #model: Model;
  /** What was upgraded: told by the logs first, seen in the inventory at its next look. */
  #upgraded: BaselineItem[] = [];
  #logins = 0;

  constructor(node: FleetNode, plan: Plan, dice: Dice, model: Model) {
    this.node = node;
    this.#plan = plan;
    this.#dice = dice;
    this.#model = model;
  }

  /** First contact: everything is new. `full`: with what the package managers' logs hold. */
  *contact(start: number): Generator<Sent> {
    const history =
      this.node.items('packages').length > SMALL ? this.#model.history.slice(-SHAPE.history) : [];
    const finds: Find[] = [
      { agent: 'logins' },
      ...INVENTORIES.map((agent) => ({ agent, whole: true })),
      { agent: 'package-history', events: history },
    ];
    yield* this.node.run(start - RUN_MS + this.#plan.offset, finds);
  }

  /** One run of the day. */
  *run(number: number, start: number): Generator<Sent> {
    const time = start + number * RUN_MS + this.#plan.offset;
    const at = new Date(time).toISOString();
    const whole = number === this.#plan.whole;
    // Services are due more often than hourly, and sent whole with the others.
    const finds = dueIn(number + this.#plan.phase).map((agent): Find => {
      if (agent === 'logins') return { agent, events: this.#loginsIn(number, at) };
      if (agent === 'package-history') return { agent, events: this.#historyIn(number, at) };
      return { agent, events: this.#changesIn(agent, number, at), whole };
    });
    yield* this.node.run(time, finds);
  }

  #loginsIn(run: number, at: string): BatchEvent[] {
    return (this.#plan.logins.get(run) ?? []).map((action) => loginEvent(action, at, ++this.#logins));
  }

  /** apt and dpkg both tell of each package. */
  #historyIn(run: number, at: string): BatchEvent[] {
    const { upgrade } = this.#plan;
    if (run !== upgrade?.history) return [];
    this.#upgraded = some(this.node.items('packages'), upgrade.count, this.#dice);
    return ['apt', 'dpkg'].flatMap((source) =>
      this.#upgraded.map(({ key, fields }) => ({
        time: at,
        action: 'upgraded',
        item: key,
        source,
        before: { version: fields.version! },
        after: { version: `${String(fields.version)}+u1` },
        ...(source === 'apt'
          ? {
              by: { command: 'apt-get -qqy upgrade' },
              data: { transaction: at.slice(0, 19).replace('T', '  '), end: at },
            }
          : {}),
      })),
    );
  }

  #changesIn(agent: Inventory, run: number, at: string): BatchEvent[] {
    const { upgrade, restarts, account } = this.#plan;
    if (agent === 'packages' && run === upgrade?.packages)
      return this.#upgraded.map((item) => changed(item, 'upgraded', at, upgradedFields(item.fields, at)));
    if (agent === 'services')
      return some(this.node.items(agent), restarts.get(run) ?? 0, this.#dice).map((item) =>
        changed(item, 'restarted', at, {
          ...item.fields,
          active: 'active',
          invocation: this.#dice.next().toString(16).slice(2).padEnd(32, '0'),
          since: at,
        }),
      );
    if (agent === 'users' && run === account)
      return some(this.node.items(agent), 1, this.#dice).map((item) =>
        changed(item, 'password-changed', at, { ...item.fields, password_changed: at.slice(0, 10) }),
      );
    return [];
  }
}

function baseline(items: readonly BaselineItem[]): Baseline {
  return new Map(items.map((item) => [item.key, item]));
}

/** As many packages as asked for: where this machine has fewer, some stand twice under another name. */
function enough(items: readonly BaselineItem[], count: number): BaselineItem[] {
  return Array.from({ length: count }, (_, at) => {
    const item = items[at % items.length]!;
    return at < items.length ? item : { ...item, key: `${item.key}-${Math.floor(at / items.length)}` };
  });
}

/** A fleet that plays the first `runs` runs of a day. Only nodes whose inventories are told of in them have whole inventories; the others' are small. */
export class Fleet {
  readonly members: readonly Member[];
  readonly runs: number;
  /** How many nodes have whole inventories. */
  readonly full: number;
  /** When the day begins, in ms since 1970: all of it has passed. */
  readonly #start: number;

  constructor(model: Model, nodes: number, runs: number, seed: number) {
    this.runs = runs;
    this.#start = Date.now() - (runs + 2) * RUN_MS;
    const packages = enough(model.inventories.packages, SHAPE.packages[1]);
    const shared = {
      services: baseline(model.inventories.services),
      users: baseline(model.inventories.users),
    };
    const small = {
      packages: baseline(packages.slice(0, SMALL)),
      services: baseline(model.inventories.services.slice(0, SMALL)),
      users: baseline(model.inventories.users.slice(0, SMALL)),
    };
    let full = 0;
    this.members = Array.from({ length: nodes }, (_, number) => {
      const dice = new Dice(seed * 1_000_003 + number);
      const plan = planOf(dice);
      const whole = touchesInventories(plan, runs);
      if (whole) full++;
      const inventories = whole
        ? { ...shared, packages: baseline(some(packages, dice.in(SHAPE.packages), dice)) }
        : small;
      return new Member(new FleetNode(model, number, inventories), plan, dice, model);
    });
    this.full = full;
  }

  /** What all nodes send when they are first heard of. */
  *contact(): Generator<Sent> {
    for (const member of this.members) yield* member.contact(this.#start);
  }

  /** What all nodes send in the part of the day that is played. */
  *day(): Generator<Sent> {
    for (let run = 0; run < this.runs; run++)
      for (const member of this.members) yield* member.run(run, this.#start);
  }
}
