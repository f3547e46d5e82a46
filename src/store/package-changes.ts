/**
 * One row per real change of a package, from what its manager recorded and what the inventory observed. Pure.
 *
 * A manager's log says when, from what to what, and who. Some changes are in two logs (apt's history and dpkg's log), and nothing stops a
 * change from being in none (a log cut, a package unpacked by hand): then only the inventory shows that between two looks one version became
 * another. The rules:
 *
 * 1. Records of two logs are one change when package, kind of change and versions agree, and the one's time lies within the other's
 *    transaction, or within five minutes where its end is not known. One record of a log is matched with at most one of another, so
 *    that install, remove and install again stay three changes.
 * 2. An observed change is explained by the records between the two looks when one of them leads to what was seen in the end. It then
 *    adds itself as a source to those that touch its ends, and is no row of its own.
 *    A change that failed explains only a package that is not ready for use. An upgrade that changed the architecture explains that the package is gone
 *    under the old one.
 * 3. Of a change's sources the most precise gives the time (dpkg's log, then any other log, then the look), and any that knows who gives that.
 */
import type { By, Fields } from '../spool/batch.ts';
import type { StoredEvent } from './events.ts';
import { ordered } from './ordered.ts';

const SECOND = 1000;
export const MINUTE = 60 * SECOND;
/** How far apart two logs' times of one change may be where the transaction's end is not known. */
export const APART = 5 * MINUTE;
/** Logs round to seconds and an inventory takes a moment to read: how far outside its window a record still belongs to a look. */
export const SLACK = 2 * MINUTE;

export interface PackageChange {
  readonly time: string;
  readonly node: string;
  readonly host: string;
  readonly action: string;
  readonly manager: string;
  readonly name: string;
  readonly arch: string | null;
  readonly from: string | null;
  readonly to: string | null;
  readonly by: By | null;
  /** Names of what told it, most precise first, joined by `+`; `observed` is the inventory. */
  readonly source: string;
}

/** A change that is still being put together. Times in milliseconds. */
interface Draft {
  start: number;
  end: number;
  change: PackageChange;
  readonly sources: string[];
}

/** What becomes of a package: changes of one kind can be the same, whatever words two sources have for them. */
const KINDS: Readonly<Record<string, string>> = {
  installed: 'came',
  appeared: 'came',
  removed: 'went',
  purged: 'went',
  vanished: 'went',
  upgraded: 'moved',
  downgraded: 'moved',
  differed: 'moved',
  reinstalled: 'again',
};

const kindOf = (action: string): string => KINDS[action] ?? action;

/** The parts of `dpkg/openssl/amd64[/version]`; the architecture is unknown in some logs. */
function partsOf(item: string): { manager: string; name: string; arch: string | null } {
  const [manager = '', name = '', arch = ''] = item.split('/', 3);
  return { manager, name: name === '' ? item : name, arch: arch === '' ? null : arch };
}

/** A version that counts: a package of which only configuration is left has none. */
function versionOf(fields: Fields | undefined): string | null {
  if (fields === undefined || fields.status === 'config-files') return null;
  return typeof fields.version === 'string' ? fields.version : null;
}

export function isLook(event: StoredEvent): boolean {
  return event.agent === 'packages';
}

/** What a comparison of snapshots found, judged by versions: a package of which only configuration is left went. */
function derivedAction(from: string | null, to: string | null): string {
  if (to === null) return 'vanished';
  return from === null ? 'appeared' : 'differed';
}

function changeOf(event: StoredEvent): PackageChange {
  const { time, node, host, by } = event;
  const look = isLook(event);
  const from = look ? versionOf(event.before) : textOf(event.before?.version);
  const to = look ? versionOf(event.after) : textOf(event.after?.version);
  const source = look ? 'observed' : (event.source ?? event.agent);
  const action = event.derived ? derivedAction(from, to) : event.action;
  const { manager, name, arch } = partsOf(event.item ?? '');
  return { time, node, host, action, manager, name, arch, from, to, by: by ?? null, source };
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** dpkg knows packages for all architectures as `all`, apt by the machine's own; a log may name none. */
function sameArch(a: string | null, b: string | null): boolean {
  return a === b || a === null || b === null || a === 'all' || b === 'all';
}

/** Whether two versions are the same as far as both are known. */
function agree(a: string | null, b: string | null): boolean {
  return a === b || a === null || b === null;
}

/** One log may call failed what the other only says was tried: apt lists what a run was to do. */
function sameKind(a: PackageChange, b: PackageChange): boolean {
  return kindOf(a.action) === kindOf(b.action) || a.action === 'failed' || b.action === 'failed';
}

function sameChange(a: PackageChange, b: PackageChange): boolean {
  return sameKind(a, b) && sameArch(a.arch, b.arch) && agree(a.from, b.from) && agree(a.to, b.to);
}

/** When the change that an event tells began and ended, in ms; of most only one moment is known. */
export function transactionOf({ time, data }: StoredEvent): { start: number; end: number } {
  const start = Date.parse(time);
  const told = textOf(data?.end);
  const end = told === null ? start : Date.parse(told);
  return { start, end: end > start ? end : start };
}

function draftOf(event: StoredEvent): Draft {
  const change = changeOf(event);
  const { start, end } = transactionOf(event);
  return { start, end, change, sources: [change.source] };
}

/** Sources by how well they know when: dpkg's log has each package's own second. */
const precision = (source: string): number => (source === 'dpkg' ? 0 : source === 'observed' ? 2 : 1);

/** Whether `rest` is a record that knows the removal `best` to be a purge. What an inventory sees is the sum of all between two looks: no word for one. */
function isPurgeOf(best: PackageChange, rest: PackageChange): boolean {
  return best.action === 'removed' && rest.action === 'purged' && rest.source !== 'observed';
}

/** Adds to a draft what another record of the same change knows. */
function merge(draft: Draft, other: Draft): void {
  const [best, rest] =
    precision(other.change.source) < precision(draft.change.source)
      ? [other.change, draft.change]
      : [draft.change, other.change];
  draft.change = {
    ...best,
    // dpkg's log calls a purge of a package without configuration a removal; apt's knows better.
    action: isPurgeOf(best, rest) ? 'purged' : best.action,
    // Of `all` and the machine's own architecture, the package's own word is `all`.
    arch: best.arch === null || rest.arch === 'all' ? (rest.arch ?? best.arch) : best.arch,
    from: best.from ?? rest.from,
    to: best.to ?? rest.to,
    by: best.by ?? rest.by,
  };
  draft.start = Math.min(draft.start, other.start);
  draft.end = Math.max(draft.end, other.end);
  draft.sources.push(...other.sources);
}

/** Time between two drafts' transactions; 0 when they overlap. */
function distance(a: Draft, b: Draft): number {
  return Math.max(0, a.start - b.end, b.start - a.end);
}

/** How badly two records of one change fit, as a time: worse when what was done comes before the transaction that is to have done it. */
function misfit(a: Draft, b: Draft): number {
  const [precise, other] = precision(a.change.source) < precision(b.change.source) ? [a, b] : [b, a];
  const unlike = kindOf(a.change.action) === kindOf(b.change.action) ? 0 : APART;
  return distance(a, b) + (precise.start < other.start ? APART : 0) + unlike;
}

interface Pair {
  readonly a: Draft;
  readonly b: Draft;
  readonly misfit: number;
}

/** Records of two logs that can be one change. */
function pairsOf(records: readonly Draft[]): Pair[] {
  const pairs: Pair[] = [];
  for (const [at, a] of records.entries()) {
    for (let next = at + 1; next < records.length; next++) {
      const b = records[next]!;
      if (a.change.source !== b.change.source && sameChange(a.change, b.change) && distance(a, b) <= APART)
        pairs.push({ a, b, misfit: misfit(a, b) });
    }
  }
  return pairs;
}

/** Rule 1. The best fitting pairs are joined first. */
function joinRecords(records: readonly Draft[]): readonly Draft[] {
  const pairs = pairsOf(records);
  if (pairs.length === 0) return records;
  const taken = new Set<Draft>();
  for (const { a, b } of ordered(pairs, (x, y) => x.misfit - y.misfit)) {
    if (taken.has(a) || taken.has(b) || a.sources.some((source) => b.sources.includes(source))) continue;
    merge(a, b);
    taken.add(b);
  }
  return records.filter((record) => !taken.has(record));
}

/** How long after removing a package dpkg removes its configuration in one purge. */
const ONE_PURGE = MINUTE;

/** Which of dpkg's removals the record of another log is about, when it is one. */
function removalOf(other: Draft, drafts: readonly Draft[]): Draft | undefined {
  if (other.change.action !== 'removed') return undefined;
  const near = drafts.filter((draft) => draft.change.action === 'removed' && distance(other, draft) <= APART);
  return near.sort((a, b) => misfit(other, a) - misfit(other, b))[0];
}

/**
 * dpkg's log writes one purge as two steps, and an inventory may see it as two: they become one. Unless another log tells of a removal of its
 * own, as apt's does for a removal that was followed by a purge.
 */
function foldPurges(drafts: readonly Draft[], others: readonly Draft[]): Draft[] {
  const folded: Draft[] = [];
  for (const draft of drafts) {
    const last = folded.at(-1);
    const isOne =
      last?.change.action === 'removed' &&
      draft.change.action === 'purged' &&
      last.change.source === draft.change.source &&
      draft.start - last.end <= ONE_PURGE &&
      !others.some((other) => removalOf(other, drafts) === last);
    if (!isOne) folded.push(draft);
    else {
      const change = { ...draft.change, from: last.change.from ?? draft.change.from };
      folded[folded.length - 1] = { ...draft, start: last.start, change };
    }
  }
  return folded;
}

/** Kinds of observed change that a record can explain although it has another word for it. */
const EXPLAINED = new Set(['came', 'went', 'moved', 'again']);

/** Whether a look found the package there but not ready for use, as a failed installation leaves it. */
function isUnready({ after }: StoredEvent): boolean {
  const status = textOf(after?.status);
  return status !== null && status !== 'installed';
}

/** Rule 2: whether the records explain what was seen: those between the two looks, or else those around them. */
function explain(look: StoredEvent, seen: Draft, records: readonly Draft[]): boolean {
  return explainWithin(SECOND, look, seen, records) || explainWithin(SLACK, look, seen, records);
}

function explainWithin(slack: number, look: StoredEvent, seen: Draft, records: readonly Draft[]): boolean {
  const first = look.since === null ? seen.start : Date.parse(look.since);
  const within = records.filter(
    ({ change, start, end }) =>
      end >= first - slack &&
      start <= seen.start + slack &&
      sameArch(change.arch, seen.change.arch) &&
      (change.action !== 'failed' || isUnready(look)),
  );
  const leads = within.filter(
    (draft) => leadsTo(draft.change, seen.change) || endsChain(draft, seen, within),
  );
  if (leads.length === 0) return false;
  const begins = ({ change }: Draft): boolean => change.from !== null && change.from === seen.change.from;
  // Of several steps nobody but the records knows what lay between.
  const ends = within.length > 1 ? { from: null, to: null } : {};
  for (const draft of within) {
    if (!(leads.includes(draft) || begins(draft)) || draft.sources.includes('observed')) continue;
    // zypp's log calls an upgrade an installation and has no version before it.
    const action =
      draft.change.action === 'installed' && draft.change.from === null
        ? seen.change.action
        : draft.change.action;
    merge(draft, { ...seen, change: { ...seen.change, ...ends }, start: draft.start, end: draft.end });
    if (within.length === 1) draft.change = { ...draft.change, action };
  }
  return true;
}

/** Whether a record removed what another one had brought since the look before: the version that is seen to be gone is an older one then. */
function endsChain({ start, change }: Draft, { change: seen }: Draft, within: readonly Draft[]): boolean {
  if (kindOf(seen.action) !== 'went' || kindOf(change.action) !== 'went' || change.from === null)
    return false;
  return within.some((draft) => draft.start <= start && draft.change.to === change.from);
}

/** Whether what a record left behind is what was seen. */
function leadsTo(record: PackageChange, seen: PackageChange): boolean {
  if (!EXPLAINED.has(kindOf(seen.action))) return record.action === seen.action && agree(record.to, seen.to);
  if (kindOf(seen.action) === 'went')
    return kindOf(record.action) === 'went' && agree(record.from, seen.from);
  if (seen.to === null) return kindOf(record.action) === kindOf(seen.action);
  return kindOf(record.action) !== 'went' && record.to === seen.to;
}

/**
 * Whether a package that is seen to be gone is there under another architecture, since an upgrade took it from `all` to the machine's own or back. dpkg's
 * log alone says which architecture came of it.
 */
function changedArchitecture(look: StoredEvent, seen: Draft, records: readonly Draft[]): boolean {
  if (kindOf(seen.change.action) !== 'went' || seen.change.from === null) return false;
  const first = look.since === null ? seen.start : Date.parse(look.since);
  return records.some(
    ({ change, sources, start, end }) =>
      sources.includes('dpkg') &&
      kindOf(change.action) === 'moved' &&
      change.from === seen.change.from &&
      change.arch !== null &&
      seen.change.arch !== null &&
      change.arch !== seen.change.arch &&
      sameArch(change.arch, seen.change.arch) &&
      end >= first - SLACK &&
      start <= seen.start + SLACK,
  );
}

const isDpkg = ({ change }: Draft): boolean => change.source === 'dpkg';

/** The real changes among all events of one package on one node, in order of time. */
export function changesOfPackage(events: readonly StoredEvent[]): readonly PackageChange[] {
  const byTime = ordered(events, (a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  const recorded = byTime.filter((event) => !isLook(event)).map(draftOf);
  const [dpkg, others] = [recorded.filter(isDpkg), recorded.filter((draft) => !isDpkg(draft))];
  const logged = ordered([...others, ...foldPurges(dpkg, others)], (a, b) => a.start - b.start);
  const records = joinRecords(logged);
  const alone = byTime.filter(isLook).flatMap((look) => {
    const seen = draftOf(look);
    return changedArchitecture(look, seen, records) || explain(look, seen, records) ? [] : [seen];
  });
  return ordered([...records, ...alone].map(finished), byTimeThenNode);
}

function finished({ change, sources }: Draft): PackageChange {
  if (sources.length === 1) return change;
  const names = [...new Set(sources)];
  const source = ordered(names, (a, b) => precision(a) - precision(b) || (a < b ? -1 : 1)).join('+');
  return { ...change, source };
}

export function byTimeThenNode(a: PackageChange, b: PackageChange): number {
  if (a.time !== b.time) return a.time < b.time ? -1 : 1;
  return a.node === b.node ? 0 : a.node < b.node ? -1 : 1;
}
