/** Runs a report: which nodes, how complete, and its rows through a format to where they go. */
import { matchesGlob } from 'node:path';
import { DsacError } from '../errors.ts';
import type { AnyReport, Scope } from '../plugin/report.ts';
import { completenessOf } from '../store/completeness.ts';
import type { Completeness } from '../store/completeness-words.ts';
import { expectedNodes } from '../store/register.ts';
import type { Store } from '../store/store.ts';

export type Row = Readonly<Record<string, unknown>>;

/** What a format is given: a report's answer, its rows still to come. */
export interface Answer {
  readonly report: AnyReport;
  readonly scope: Scope;
  readonly generated: Date;
  /** How complete the account is; asked only by who shows it, and not while rows come: SQLite answers one question at a time. */
  completeness(): Promise<Completeness>;
  readonly rows: AsyncIterable<Row>;
}

/** Turns an answer into text, piece by piece. */
export type Format = (answer: Answer) => AsyncIterable<string>;

const MOST_NAMED = 20;

/** Whether a glob means this node: by host name or by id. */
export function means(glob: string, node: { readonly node: string; readonly host: string }): boolean {
  return [node.host, node.node].some((name) => name === glob || matchesGlob(name, glob));
}

/**
 * Ids of the nodes that `--node` globs mean; undefined, for all, when there are none. Throws a `usage` error that lists the hosts there are
 * when a glob matches no node.
 */
export async function nodesMatching(store: Store, globs: readonly string[]): Promise<string[] | undefined> {
  if (globs.length === 0) return undefined;
  const nodes = await expectedNodes(store);
  const idle = globs.find((glob) => !nodes.some((node) => means(glob, node)));
  if (idle !== undefined) {
    const hosts = [...new Set(nodes.map(({ host }) => host))];
    const more = hosts.length > MOST_NAMED ? ` and ${hosts.length - MOST_NAMED} more` : '';
    throw new DsacError('usage', `--node '${idle}' matches no node`, {
      hint:
        hosts.length > 0
          ? `known are: ${hosts.slice(0, MOST_NAMED).join(', ')}${more}`
          : 'no node has reported yet',
    });
  }
  return nodes.filter((node) => globs.some((glob) => means(glob, node))).map(({ node }) => node);
}

/** Runs a report and hands its text on piece by piece, each after the one before is written. Answers what tells how complete the account is. */
export async function runReport(
  store: Store,
  report: AnyReport,
  scope: Scope,
  format: Format,
  write: (text: string) => unknown,
): Promise<() => Promise<Completeness>> {
  if (scope.since >= scope.until) {
    const [since, until] = [scope.since.toISOString(), scope.until.toISOString()];
    throw new DsacError('usage', `--since ${since} is not before --until ${until}`);
  }
  let told: Promise<Completeness> | undefined;
  const completeness = (): Promise<Completeness> => {
    told ??= completenessOf(store, scope);
    return told;
  };
  const answer: Answer = {
    report,
    scope,
    generated: scope.now,
    completeness,
    rows: report.rows(store, scope),
  };
  for await (const text of format(answer)) await write(text);
  return completeness;
}
