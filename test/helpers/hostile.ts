/** Bytes that a hostile or broken node may send, and what is to become of them. */
import { createHash, sign } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import type { BatchEvent } from '../../src/spool/batch.ts';
import { signedText } from '../../src/spool/encode.ts';
import { FakeNode, plainEvent } from './batches.ts';

/**
 * `corrupt`: damage, quarantined by whoever reads it first, though a batch beside it may be taken. `failed`: a batch whose events the store refuses. `taken`: a batch like any other.
 */
export type Fate =
  | { readonly corrupt: RegExp; readonly taken?: readonly string[] }
  | { readonly failed: RegExp }
  /** The items that reports then show. */
  | { readonly taken: readonly string[] };

export interface HostileCase {
  readonly name: string;
  readonly bytes: Buffer;
  readonly compressed?: boolean;
  readonly fate: Fate;
  /** What cannot be put between two batches: it is about the file as a whole. */
  readonly alone?: boolean;
}

const time = '2026-11-23T01:00:00.000Z';
const utf8 = (text: string): Buffer => Buffer.from(text);

/** A batch of these very lines, with a trailer that is right for them. */
function rawBatch(node: FakeNode, header: Buffer, events: readonly Buffer[]): Buffer {
  const body = Buffer.concat([header, ...events].flatMap((line) => [line, utf8('\n')]));
  const sha256 = createHash('sha256').update(body).digest('hex');
  const sig = sign(null, signedText(sha256), node.key).toString('base64');
  return Buffer.concat([body, utf8(`${JSON.stringify({ end: 1, count: events.length, sha256, sig })}\n`)]);
}

let nodes = 0;

/** A node that no other case knows. */
function someNode(): FakeNode {
  const number = String(++nodes).padStart(12, '0');
  return new FakeNode(`6f1c5a9e-0f5e-4d0e-8a54-${number}`, `hostile${nodes}`);
}

/** A header as text, with some of its members replaced by raw JSON, and members of no known name behind them. */
function headerText(node: FakeNode, members: Readonly<Record<string, string>> = {}, more = ''): string {
  const { header } = node.next('logins', 'log', [], { boot: 'b' });
  const all = Object.entries(header).map(
    ([name, value]) => `${JSON.stringify(name)}:${members[name] ?? JSON.stringify(value)}`,
  );
  return `{${all.join(',')}${more}}`;
}

const eventText = (item: string, more = ''): string =>
  `{"time":"${time}","action":"happened","item":${JSON.stringify(item)}${more}}`;

/** A case with a header of its own. */
function byHeader(name: string, members: Record<string, string>, fate: Fate, more = ''): HostileCase {
  const node = someNode();
  return {
    name,
    fate,
    bytes: rawBatch(node, utf8(headerText(node, members, more)), [utf8(eventText(`by-header/${name}`))]),
  };
}

/** A case with an event line of its own. */
function byEvent(name: string, line: string | Buffer, fate: Fate): HostileCase {
  const node = someNode();
  return { name, fate, bytes: rawBatch(node, utf8(headerText(node)), [Buffer.from(line as string)]) };
}

/** A case that spoils a good batch. */
function spoiled(name: string, spoil: (batch: Buffer) => Buffer, corrupt: RegExp): HostileCase {
  const batch = someNode().next('logins', 'log', [plainEvent(1), plainEvent(2)]);
  return { name, bytes: spoil(Buffer.from(batch.bytes)), fate: { corrupt } };
}

function flipped(batch: Buffer, at: number, bit = 1): Buffer {
  batch[at]! ^= bit;
  return batch;
}

const lineStart = (batch: Buffer, line: number): number =>
  line === 0 ? 0 : batch.indexOf(0x0a, lineStart(batch, line - 1)) + 1;

function textCases(): HostileCase[] {
  const text = (name: string, change: (text: string) => string, corrupt: RegExp): HostileCase =>
    spoiled(name, (batch) => utf8(change(batch.toString())), corrupt);
  return [
    spoiled('flip-header', (batch) => flipped(batch, 40), /sha256|header/),
    spoiled('flip-event', (batch) => flipped(batch, lineStart(batch, 1) + 50), /sha256: the trailer says/),
    spoiled('flip-digest', (batch) => flipped(batch, lineStart(batch, 3) + 40), /sha256/),
    spoiled('flip-signature', (batch) => flipped(batch, batch.length - 40), /sig/),
    spoiled('flip-line-end', (batch) => flipped(batch, lineStart(batch, 1) - 1), /./),
    spoiled('flip-last-line-end', (batch) => flipped(batch, batch.length - 1), /./),
    // These two are a whole batch with something before or behind it.
    ...[
      text('second-trailer', (all) => `${all}${all.split('\n').at(-2)}\n`, /not a batch header/),
      text('byte-order-mark', (all) => `\ufeff${all}`, /not a batch header/),
    ].map((one) => ({ ...one, fate: { corrupt: /not a batch header/, taken: ['thing/1', 'thing/2'] } })),
    text('trailer-alone', (all) => `${all.split('\n').at(-2)}\n`, /not a batch header/),
    text('carriage-returns', (all) => all.replaceAll('\n', '\r\n'), /sha256/),
    text('empty-line', (all) => all.replace('\n', '\n\n'), /line 2 is neither event nor trailer/),
    text('count-of-2^53', (all) => all.replace('"count":2', '"count":9007199254740992'), /trailer: count/),
    text('end-of-another-kind', (all) => all.replace('"end":1', '"end":2'), /trailer: end/),
    spoiled(
      'nul-tail',
      (batch) => Buffer.concat([batch.subarray(0, -30), Buffer.alloc(4096), utf8('\n')]),
      /trailer/,
    ),
    spoiled('nul-only', () => Buffer.concat([Buffer.alloc(8192), utf8('\n')]), /not a batch header/),
    spoiled('cut', (batch) => Buffer.concat([batch.subarray(0, -100), utf8('\n')]), /trailer|cut/),
  ];
}

const deep = (levels: number): string => `${'['.repeat(levels)}1${']'.repeat(levels)}`;

function jsonCases(): HostileCase[] {
  const bad = (corrupt: RegExp): Fate => ({ corrupt });
  const taken = (name: string): Fate => ({ taken: [`by-header/${name}`] });
  return [
    byHeader('version-2', { dsac: '2' }, bad(/header: dsac/)),
    byHeader('deep-header', { boot: deep(100_000) }, bad(/header: boot/)),
    byHeader('deep-unknown-member', {}, taken('deep-unknown-member'), `,"later":${deep(100_000)}`),
    byHeader(
      'prototype-header',
      {},
      taken('prototype-header'),
      ',"__proto__":{"seq":9},"constructor":{"a":1}',
    ),
    byHeader('duplicate-key', {}, bad(/header: seq/), ',"seq":0'),
    byHeader('seq-1e999', { seq: '1e999' }, bad(/header: seq/)),
    byHeader('seq-beyond-2^53', { seq: '9007199254740993' }, bad(/header: seq/)),
    byHeader('seq-minus-0', { seq: '-0' }, bad(/header: seq/)),
    byHeader('agent-path', { agent: '"../../../etc/cron.d/x"' }, bad(/header: agent/)),
    byHeader('epoch-path', { epoch: '"../../x"' }, bad(/header: epoch/)),
    byHeader('day-that-is-not', { time: '"2026-02-30T00:00:00.000Z"' }, bad(/header: time/)),
    byHeader('time-9999', { time: '"9999-12-31T23:59:59.999Z"' }, taken('time-9999')),
    byHeader('host-that-acts', { host: '"=1+1\\u001b[2J\\u202e\\u009b31m"' }, taken('host-that-acts')),
    byHeader('host-surrogate', { host: '"\\ud800x"' }, taken('host-surrogate')),
    ...['segment', 'store', 'archive', 'message', 'new'].map((agent) =>
      byHeader(`agent-${agent}`, { agent: `"${agent}"` }, taken(`agent-${agent}`)),
    ),
    byEvent('event-no-json', `{"time":"${time}",`, { failed: /event 1 is not JSON/ }),
    byEvent('event-no-utf8', Buffer.from(eventText('x\xff'), 'latin1'), { failed: /event 1 is not JSON/ }),
    byEvent('event-deep', eventText('x', `,"data":{"x":${deep(100_000)}}`), {
      failed: /nests deeper than 32/,
    }),
    byEvent('event-1e999', eventText('x', ',"data":{"x":1e999}'), { failed: /event 1: data: / }),
    byEvent('event-control', eventText('x\u001b[2J'), { failed: /event 1: item: no control characters/ }),
    byEvent('event-day', eventText('x').replace('-11-23', '-02-30'), { failed: /event 1: time: / }),
    byEvent('event-513', eventText('x'.repeat(513)), { failed: /event 1: item/ }),
    byEvent('event-prototype', eventText('prototype', ',"data":{"__proto__":{"admin":1},"constructor":2}'), {
      taken: ['prototype'],
    }),
    byEvent('event-surrogate', eventText('surrogate', ',"data":{"x":"\\udc00"}'), { taken: ['surrogate'] }),
    byEvent('event-bidi', eventText(`bidi${'\u202e'.repeat(508)}`), {
      taken: [`bidi${'\u202e'.repeat(508)}`],
    }),
    byEvent('event-formula', eventText('=cmd|calc'), { taken: ['=cmd|calc'] }),
  ];
}

function otherKey(): HostileCase {
  const [node, forger] = [someNode(), someNode()];
  return {
    name: 'signed-by-another',
    bytes: rawBatch(forger, utf8(headerText(node)), []),
    fate: { corrupt: /sig does not verify under key/ },
  };
}

const MIB = 1024 * 1024;

/** A batch whose second line is longer than a reader takes. */
export function longLine(): HostileCase {
  const node = someNode();
  const event: BatchEvent = { ...plainEvent(), data: { x: 'x' } };
  const line = JSON.stringify(event).replace('"x":"x"', `"x":"${'x'.repeat(16 * MIB)}"`);
  return {
    name: 'long-line',
    bytes: rawBatch(node, utf8(headerText(node)), [utf8(line)]),
    fate: { corrupt: /a line of \d+ bytes, over 16777216/ },
  };
}

function tinyBatches(count: number): HostileCase {
  const node = someNode();
  const batches = Array.from({ length: count }, () => node.next('logins', 'log', []).bytes);
  return { name: 'tiny-batches', bytes: Buffer.concat(batches), alone: true, fate: { taken: [] } };
}

function folded(name: string, bytes: Buffer, corrupt: RegExp): HostileCase {
  return { name, bytes, compressed: true, alone: true, fate: { corrupt } };
}

/** What is small and unfolds to much: one of each kind, for a test in which a second counts. */
export function bombs(): HostileCase[] {
  const half = zstdCompressSync(Buffer.alloc(129 * MIB));
  const empty = zstdCompressSync(Buffer.alloc(0));
  return [
    folded('bomb-of-two', Buffer.concat([half, half]), /unfolds to more than 268435456 bytes/),
    folded('bomb-in-bomb', zstdCompressSync(half), /not a batch header/),
    folded(
      'empty-frames',
      Buffer.concat(Array.from({ length: 40_000 }, () => empty)),
      /more than 4096 frames/,
    ),
    folded('no-zstd', utf8('no zstd'), /not readable zstd/),
  ];
}

/** One that says in its frame's header how much it holds, and one that is no more than a reader takes. */
export function largeBombs(): HostileCase[] {
  const declared = zstdCompressSync(Buffer.alloc(300 * MIB), { pledgedSrcSize: 300 * MIB });
  return [
    folded('bomb', declared, /unfolds to more than 268435456 bytes/),
    folded('zeros', zstdCompressSync(Buffer.alloc(200 * MIB)), /not a batch header/),
  ];
}

/** What is no batch, an odd one, or one that cannot be loaded; `tiny`: how many batches the file of small ones has. */
export function hostileCases(tiny: number): HostileCase[] {
  return [...textCases(), ...jsonCases(), otherKey(), tinyBatches(tiny)];
}
