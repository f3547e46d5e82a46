/** What is worth telling of systemd's units: which of them, and which of their properties change only when the machine does. Pure. */
import { type Properties, parseStamp, parseWords } from './systemctl.ts';

/** A unit as it is now. Fields that say nothing are undefined. */
export interface Unit {
  readonly unit: string;
  readonly active?: string | undefined;
  readonly sub?: string | undefined;
  readonly enabled?: string | undefined;
  readonly load?: string | undefined;
  readonly result?: string | undefined;
  readonly invocation?: string | undefined;
  readonly restarts?: number | undefined;
  readonly since?: string | undefined;
  readonly fragment?: string | undefined;
  readonly dropins?: string[] | undefined;
}

/** Whether the unit is one of a template: `getty@tty1.service`. */
export function isInstance(name: string): boolean {
  return /@[^.@].*\.[a-z]+$/.test(name);
}

/** Of a login session: started and stopped with it, and told by the agent for logins. */
const OF_SESSION = /^user(?:-runtime-dir)?@.*\.service$/;
/** One connection of a socket: an instance of the template of the socket's name, numbered by connection. */
const OF_CONNECTION = /^(.+)@\d+-.*\.service$/;

/** Whether the unit comes and goes without anybody having changed the machine. `accepting`: names of sockets with Accept=yes. */
function isPassing(unit: Properties, accepting: ReadonlySet<string>): boolean {
  const id = unit.Id ?? '';
  const socket = OF_CONNECTION.exec(id)?.[1];
  return (
    unit.Transient === 'yes' ||
    OF_SESSION.test(id) ||
    (socket !== undefined && accepting.has(`${socket}.socket`))
  );
}

/**
 * Whether the unit runs only now and then: a oneshot that does not remain, and what nothing but a timer, a path or a D-Bus call
 * starts. That it runs or not at the moment is no news; that its last run failed is.
 */
function isErrand(unit: Properties): boolean {
  if (unit.Type === 'oneshot' && unit.RemainAfterExit !== 'yes') return true;
  if (unit.WantedBy || unit.RequiredBy) return false;
  const isTriggered = parseWords(unit.TriggeredBy).some((by) => /\.(?:timer|path)$/.test(by));
  return isTriggered || (Boolean(unit.BusName) && unit.UnitFileState === 'static');
}

/** The state that is told: a reload is over in a moment and nothing stopped; an errand is `inactive` unless it failed. */
function stateOf(unit: Properties): string | undefined {
  const state = unit.ActiveState;
  if (isErrand(unit)) return state === 'failed' ? state : 'inactive';
  return state === 'reloading' || state === 'refreshing' ? 'active' : state;
}

/** A service's finer state; a socket or timer is `running` while what it starts runs, which is not its own news. */
function subStateOf(unit: Properties, active: string | undefined): string | undefined {
  if (!unit.Id?.endsWith('.service')) return undefined;
  if (active === unit.ActiveState) return unit.SubState;
  return active === 'active' ? 'running' : 'dead';
}

/** When it came to its state. An errand's changes with each run, which is no news but for a run that failed. */
function sinceOf(unit: Properties, active: string | undefined): string | undefined {
  if (isErrand(unit) && active !== 'failed') return undefined;
  if (active === 'active') return parseStamp(unit.ActiveEnterTimestamp);
  return active === 'inactive' || active === 'failed' ? parseStamp(unit.InactiveEnterTimestamp) : undefined;
}

/** LoadState where it says more than the unit file's state does: `error`, `bad-setting`, `not-found`. */
function loadOf(unit: Properties): string | undefined {
  const isPlain = ['loaded', 'masked', 'merged'].includes(unit.LoadState ?? 'loaded');
  return isPlain ? undefined : unit.LoadState;
}

/** What only holds while the unit is up or has failed: systemd forgets it of a unit at rest when nothing refers to it. */
function presentFields(unit: Properties, active: string | undefined) {
  const dropins = parseWords(unit.DropInPaths);
  return {
    result: active === 'failed' ? unit.Result : undefined,
    invocation: active === 'active' ? unit.InvocationID || undefined : undefined,
    restarts: Number(unit.NRestarts) || undefined,
    fragment: unit.FragmentPath || undefined,
    dropins: dropins.length > 0 ? dropins : undefined,
  };
}

/** What is told about a loaded unit, whose unit file has the state `enabled`; undefined when it is none to tell about. */
function loadedUnit(unit: Properties, enabled: string | undefined): Unit | undefined {
  const active = stateOf(unit);
  const isAtRest = active === 'inactive';
  const id = unit.Id ?? '';
  if (unit.LoadState === 'not-found' && isAtRest) return undefined;
  if (isInstance(id) && isAtRest && !/^(?:enabled|masked)/.test(enabled ?? '')) return undefined;
  return {
    unit: id,
    active,
    sub: subStateOf(unit, active),
    enabled,
    load: loadOf(unit),
    since: sinceOf(unit, active),
    ...(isAtRest ? {} : presentFields(unit, active)),
  };
}

/** What is told about a unit that is not loaded: it is at rest, unless systemd does not run at all. */
function unitAtRest(unit: string, enabled: string, isBooted: boolean): Unit {
  if (!isBooted || unit.includes('@.')) return { unit, enabled };
  return { unit, enabled, active: 'inactive', sub: unit.endsWith('.service') ? 'dead' : undefined };
}

/**
 * Every unit worth telling about: the loaded ones, then the unit files that are not loaded. `loaded` is undefined when systemd does
 * not run. Aliases are told as the unit they stand for.
 */
export function* mergeUnits(
  loaded: readonly Properties[] | undefined,
  files: ReadonlyMap<string, string>,
): Generator<Unit> {
  const told = new Set<string>();
  const accepting = new Set(loaded?.flatMap(({ Id = '', Accept }) => (Accept === 'yes' ? Id : [])));
  for (const properties of loaded ?? []) {
    for (const name of [properties.Id ?? '', ...parseWords(properties.Names)]) told.add(name);
    if (isPassing(properties, accepting)) continue;
    const unit = loadedUnit(
      properties,
      files.get(properties.Id ?? '') ?? (properties.UnitFileState || undefined),
    );
    if (unit !== undefined) yield unit;
  }
  for (const [name, state] of files) {
    if (!told.has(name) && state !== 'alias' && state !== 'transient')
      yield unitAtRest(name, state, loaded !== undefined);
  }
}
