/** Makes batches of what can still be read of damaged ones, and puts them on hold: whether they go on is for a person to say. */
import { createHash } from 'node:crypto';
import { constants, zstdDecompressSync } from 'node:zlib';
import type { BatchEvent, Header } from '../spool/batch.ts';
import { MAX_UNFOLDED, SALVAGE } from '../spool/batch.ts';
import type { Decoded } from '../spool/decode.ts';
import { decode } from '../spool/decode.ts';
import { seal, uuidFrom } from '../spool/encode.ts';
import { type Wreck, wrecksOf } from '../spool/salvage.ts';
import type { Spool, SpoolFile } from '../spool/spool.ts';
import { openThere, whereOf } from './inspect.ts';
import type { Origin } from './stream.ts';

/** What came of one file. */
export interface Salvaged {
  readonly batches: number;
  readonly events: number;
  /** Lines that could not be read, as far as that is known. */
  readonly lost: number;
  /** The file in `hold` that has it; undefined when nothing could be read. */
  readonly name: string | undefined;
}

/** `line 3 of batch 42 of packages on web1`, as far as that is known. */
function placeOf({ seq, agent, host, node }: Wreck['origin'], line: number): string {
  const batch = seq === undefined ? 'a batch' : `batch ${seq}`;
  return `line ${line} of ${batch} of ${agent ?? 'an unknown agent'} on ${host ?? node ?? 'an unknown node'}`;
}

/** Each event as it was read, in words that say where it comes from. */
function* toldEvents({ origin, events }: Wreck): Generator<BatchEvent> {
  for (const { line, event } of events)
    yield {
      ...event,
      data: { salvaged: placeOf(origin, line), ...(event.data === undefined ? {} : { told: event.data }) },
    };
}

/** A wreck as a batch. It depends on nothing but the wreck and who salvages, so that doing it again makes the same bytes. */
function sealWreck(wreck: Wreck, { identity, host }: Origin): Buffer {
  const { time, origin } = wreck;
  const header: Omit<Header, 'dsac'> = {
    id: uuidFrom(Date.parse(time), Buffer.from(origin.from, 'hex')),
    node: identity.node,
    host,
    agent: SALVAGE,
    kind: 'log',
    epoch: `${SALVAGE}-${origin.from.slice(0, 24)}`,
    seq: 1,
    prev: null,
    time,
    key: identity.publicKey,
    succession: identity.succession.length > 0 ? [...identity.succession] : undefined,
    salvage: origin,
  };
  return seal(header, toldEvents(wreck), identity.key).bytes;
}

/** What a file holds; of a compressed one that is cut, what unfolds before the cut. */
async function opened(spool: Spool, file: SpoolFile): Promise<Decoded[]> {
  const decoded = (await openThere(spool, file)) ?? [];
  const [only, ...more] = decoded;
  if (!file.name.endsWith('.zst') || only?.damage === undefined || more.length > 0) return decoded;
  try {
    const options = { maxOutputLength: MAX_UNFOLDED, finishFlush: constants.ZSTD_e_continue };
    return [...decode(zstdDecompressSync(only.damage.bytes, options))];
  } catch {
    return decoded;
  }
}

/** Salvages a file, which stays where it is: what can be read of its damaged batches becomes one file in `hold`. */
export async function salvage(spool: Spool, file: SpoolFile, by: Origin): Promise<Salvaged> {
  const wrecks = [...wrecksOf(await opened(spool, file))];
  const events = wrecks.reduce((sum, wreck) => sum + wreck.events.length, 0);
  const lost = wrecks.reduce((sum, wreck) => sum + wreck.origin.lost, 0);
  if (wrecks.length === 0) return { batches: 0, events, lost, name: undefined };
  const bytes = Buffer.concat(wrecks.map((wreck) => sealWreck(wreck, by)));
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  const name = `segment.${SALVAGE}-${digest}.0000000001.jsonl`;
  await spool.keepBytes(
    'hold',
    name,
    bytes,
    `salvaged from ${whereOf(file)}/${file.name}: ${events} event(s), ${lost} line(s) lost; look at them, then dsac spool release`,
  );
  return { batches: wrecks.length, events, lost, name };
}
