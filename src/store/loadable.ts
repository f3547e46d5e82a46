/** A batch whose events are read, checked and ready to be loaded. */
import * as z from 'zod';
import { nameSchema } from '../config/name.ts';
import { DsacError, reasonOf } from '../errors.ts';
import { type Batch, type BatchEvent, epochSchema, type Header, type StreamKey } from '../spool/batch.ts';

/** `data` of a receipt event (docs/format.md §4); what a later version adds is ignored. */
const receiptSchema = z.looseObject({
  outcome: nameSchema,
  duration_ms: z.number().nullish(),
  events: z.int().nullish(),
  items: z.int().nullish(),
  every_ms: z.int().nullish(),
  stream: z
    .looseObject({ epoch: epochSchema, seq: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })
    .nullish(),
  sources: z.array(z.json()).nullish(),
  reason: z.string().nullish(),
});

/** What the run of one agent left. */
export interface Receipt extends z.infer<typeof receiptSchema> {
  readonly agent: string;
  readonly time: string;
}

export interface Loadable {
  readonly header: Header;
  readonly sha256: string;
  /** How many events it has. */
  readonly count: number;
  /** Its events; a log's are parsed each time that they are asked for. Throws a `data` error that names the batch and the event where one is malformed. */
  events(): Iterable<BatchEvent>;
  /** For kind `receipt` only. */
  readonly receipts: readonly Receipt[];
}

/** `batch 42 of packages, epoch e1, node 6f1c…`: a batch as messages name it. */
function nameOf(header: StreamKey & Pick<Header, 'seq'>): string {
  return `batch ${header.seq} of ${header.agent}, epoch ${header.epoch}, node ${header.node}`;
}

function receiptOf(event: BatchEvent, number: number): Receipt {
  const agent = nameSchema.safeParse(event.item?.replace(/^agent\//, ''));
  const receipt = receiptSchema.safeParse(event.data);
  if (!receipt.success || !agent.success) {
    throw new Error(`event ${number}: not a receipt: ${reasonOf(receipt.error ?? agent.error)}`);
  }
  return { ...receipt.data, agent: agent.data, time: event.time };
}

/** The rules that tie an event to the kind of its batch (docs/format.md §1). */
function checkInventory(kind: 'snapshot' | 'changes', events: readonly BatchEvent[]): void {
  const keys = new Set<string>();
  for (const [index, event] of events.entries()) {
    const what = `event ${index + 1}`;
    if (event.item === undefined) throw new Error(`${what}: no item, in a batch of kind ${kind}`);
    if (kind === 'changes') continue;
    if (event.after === undefined) throw new Error(`${what}: no after, in a snapshot`);
    if (keys.has(event.item)) throw new Error(`${what}: item '${event.item}' twice in one snapshot`);
    keys.add(event.item);
  }
}

function malformed(header: Header, error: unknown): DsacError {
  return new DsacError('data', `${nameOf(header)}: ${reasonOf(error)}`, { cause: error });
}

function* parsedOf(batch: Batch): Generator<BatchEvent> {
  const events = batch.events();
  for (;;) {
    let step: IteratorResult<BatchEvent>;
    try {
      step = events.next();
    } catch (error) {
      throw malformed(batch.header, error);
    }
    if (step.done) return;
    yield step.value;
  }
}

/** A batch as it is loaded. Throws a `data` error that names the batch and the event where one is malformed, of a log only when its events are asked for. */
export function loadable(batch: Batch): Loadable {
  const { header, trailer } = batch;
  const { kind } = header;
  const { sha256, count } = trailer;
  if (kind === 'log') return { header, sha256, count, events: () => parsedOf(batch), receipts: [] };
  const events = [...parsedOf(batch)];
  try {
    if (kind !== 'receipt') checkInventory(kind, events);
    const receipts = kind === 'receipt' ? events.map((event, index) => receiptOf(event, index + 1)) : [];
    return { header, sha256, count, events: () => events, receipts };
  } catch (error) {
    throw malformed(header, error);
  }
}
