/** Reads batch files for a verification: framing, counts, digests, signatures, events and keys, batch by batch. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { reasonOf } from '../../errors.ts';
import type { KnownNodes } from '../../evidence/known-nodes.ts';
import { type Batch, type Header, MAX_UNFOLDED } from '../../spool/batch.ts';
import { type Damage, type Decoded, decodeStored } from '../../spool/decode.ts';
import type { Finding } from './findings.ts';
import type { Ledger } from './ledger.ts';

/** What messages say of a batch: which, and where. */
function nameOf({ node, host, agent, epoch, seq }: Header): Partial<Finding> {
  return { node, host, agent, epoch, seq };
}

/** What the first line of damaged bytes says that it is, as far as it says so: nothing of it is proved. */
function claimOf({ bytes }: Damage): Partial<Finding> {
  try {
    const value: Record<string, unknown> = JSON.parse(bytes.subarray(0, bytes.indexOf(0x0a)).toString());
    const text = (name: string): string | undefined =>
      typeof value[name] === 'string' ? value[name] : undefined;
    const claim = { node: text('node'), host: text('host'), agent: text('agent'), epoch: text('epoch') };
    const named = Object.entries(claim).filter(([, one]) => one !== undefined);
    return { ...Object.fromEntries(named), ...(typeof value.seq === 'number' ? { seq: value.seq } : {}) };
  } catch {
    return {};
  }
}

/** The first event that breaks the format, in words; undefined when all are sound. */
export function badEvent(batch: Batch): string | undefined {
  try {
    for (const _ of batch.events());
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

function findDamage(damage: Damage, file: string): Finding {
  const [, expected, received] = /says (\S+?),? (?:the bytes give|there are) (\S+)/.exec(damage.reason) ?? [];
  return {
    kind: 'damaged',
    message: damage.reason,
    file,
    offset: damage.offset,
    ...claimOf(damage),
    ...(expected === undefined ? {} : { expected, received: received! }),
  };
}

/** What is wrong with the key of a batch, judged by the keys that are known. Revoked ones are judged later, by when the batch came. */
function badKey(
  { node, key }: Header,
  known: KnownNodes | undefined,
): (Partial<Finding> & Pick<Finding, 'kind' | 'message'>) | undefined {
  if (key === undefined) return { kind: 'unsigned', message: 'it is not signed' };
  if (known === undefined || known.standing(node, key).is !== 'unknown') return undefined;
  const expected = known.present(node)?.key;
  if (expected === undefined) return { kind: 'key', message: `node ${node} is not known`, received: key };
  return { kind: 'key', message: 'signed by another key than the node has', expected, received: key };
}

/** A batch file to be read: where it is, its name below where it was found, and as messages name it. */
export interface BatchFile {
  readonly path: string;
  readonly name: string;
  readonly label: string;
  readonly size: number;
}

async function readStored({ path, label, size }: BatchFile, ledger: Ledger): Promise<Buffer | undefined> {
  try {
    if (size <= MAX_UNFOLDED) return await readFile(path);
    ledger.tell({ kind: 'damaged', message: `${size} bytes, over ${MAX_UNFOLDED}`, file: label, offset: 0 });
  } catch (error) {
    ledger.tell({ kind: 'unreadable', message: reasonOf(error), file: label });
  }
  return undefined;
}

/** What batches are held against while they are read. */
export interface Against {
  readonly known: KnownNodes | undefined;
  /** The digest of what the store must hold of a batch's events; undefined where that is not asked for. */
  readonly contentOf?: ((batch: Batch) => string | undefined) | undefined;
}

function enter(
  decoded: Iterable<Decoded>,
  file: number,
  label: string,
  ledger: Ledger,
  { known, contentOf }: Against,
): void {
  let at = 0;
  for (const { batch, damage } of decoded) {
    if (damage) {
      ledger.tell(findDamage(damage, label));
      at = damage.offset + damage.bytes.length;
      continue;
    }
    const { header, trailer } = batch;
    const where = { file: label, offset: at, ...nameOf(header) };
    const bad = badEvent(batch);
    const content = bad === undefined ? contentOf?.(batch) : undefined;
    ledger.batch({ header, sha256: trailer.sha256, events: trailer.count, file, at, content });
    if (bad !== undefined) ledger.tell({ kind: 'events', message: bad, ...where });
    const key = badKey(header, known);
    if (key) ledger.tell({ ...key, ...where });
    at += batch.bytes.length;
  }
}

/** Reads one file into the ledger, and tells what is wrong in it. */
export async function readInto(ledger: Ledger, file: BatchFile, against: Against): Promise<void> {
  const stored = await readStored(file, ledger);
  if (!stored) return;
  const sha256 = createHash('sha256').update(stored).digest('hex');
  const number = ledger.file(file.name, file.label, { sha256, size: stored.length });
  enter(await decodeStored(file.path, stored), number, file.label, ledger, against);
}
