/** What `dsac verify` finds, and what to do about each kind of it. */

/** Every kind of finding, with what a person may do. */
export const FINDING_KINDS = {
  damaged:
    'compare with a copy of the archive, or with the node’s own spool; the bytes are not what was written',
  events: 'the node signed what breaks the format: its DSAC is at fault, or was changed',
  unsigned: 'anyone can have made it',
  key: 'if the key is the node’s: dsac node trust; if not, someone else signed in its name',
  chain:
    'the batch before it was another one when this was made: one of the two is not the node’s first word',
  gap: 'look for them in the spools (dsac spool ls), on the node too; if they are nowhere, they are lost',
  fork: 'the node’s state was set back (restored, cloned), or someone has its key: compare the two',
  taken: 'it came, and was taken away or damaged since: restore it from a copy of the archive',
  replaced: 'what is here is not what came: compare with a copy of the archive',
  uncountersigned:
    'it did not come through dsac process, or the log of heads was changed: compare with a copy of both',
  heads: 'compare with a copy of the log: what is signed there cannot be made up later',
  index:
    'delete index.db and run dsac process: it is made again from the segments; if it names files that are gone, restore them',
  store: 'the store can be built again from the archive',
  unreadable: 'check the disk and the permissions',
} as const;

export type FindingKind = keyof typeof FINDING_KINDS;

/** One thing that is wrong, and where. */
export interface Finding {
  readonly kind: FindingKind;
  /** What is wrong, in words. */
  readonly message: string;
  /** The file, as far as it is one. */
  readonly file?: string;
  /** Where in the file (unfolded) the batch or the damage begins, in bytes; of the log of heads, the line. */
  readonly offset?: number;
  readonly node?: string;
  readonly host?: string;
  readonly agent?: string;
  readonly epoch?: string;
  readonly seq?: number;
  readonly expected?: string;
  readonly received?: string;
}

/** Where findings go. */
export type Tell = (finding: Finding) => void;

/** A row of a question to the ledger. Columns of these names say where a batch is: `node`, `host`, `agent`, `epoch`, `seq`, `label`, `at`. */
export type Row = Readonly<Record<string, string | number | null>>;

/** Which batch, and where it is, as far as a row says. */
export function placed({ node, host, agent, epoch, seq, label, at }: Row): Partial<Finding> {
  const known = Object.entries({ file: label, offset: at, node, host, agent, epoch, seq });
  return Object.fromEntries(known.filter(([, value]) => value !== null && value !== undefined));
}
