import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Batch } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { seal } from '../../src/spool/encode.ts';
import { badSignatures } from '../../src/spool/signature.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';

/** The batch with another signature, as well formed. */
function withSignature(batch: Batch, sig: string): Batch {
  const text = batch.bytes.toString().replace(batch.trailer.sig!, sig);
  return [...decode(Buffer.from(text), 'unverified')][0]!.batch!;
}

function run(node: FakeNode, count: number): Batch[] {
  return Array.from({ length: count }, (_, n) => node.next('logins', 'log', [plainEvent(n)]));
}

const REASON = 'sig does not verify under key';

test('P6: of a stream’s run the last signature is verified, and vouches for the batches before it', () => {
  const node = new FakeNode();
  const [first, second, third] = run(node, 3) as [Batch, Batch, Batch];
  assert.equal(badSignatures([first, second, third]).size, 0);
  const unlike = withSignature(first, second.trailer.sig!);
  assert.equal(badSignatures([unlike, second, third]).size, 0);
  const last = withSignature(third, second.trailer.sig!);
  assert.deepEqual([...badSignatures([first, second, last])], [[last, REASON]]);
});

test('P6: what no signature vouches for is bad: alone, behind a gap, or before one that is bad itself', () => {
  const node = new FakeNode();
  const [first, second, third] = run(node, 3) as [Batch, Batch, Batch];
  const [bad, badSecond] = [first, second].map((batch) => withSignature(batch, third.trailer.sig!));
  assert.deepEqual([...badSignatures([bad!])], [[bad, REASON]]);
  assert.deepEqual([...badSignatures([bad!, third])], [[bad, REASON]]);
  assert.deepEqual(
    new Map(badSignatures([bad!, badSecond!])),
    new Map([
      [badSecond, REASON],
      [bad, REASON],
    ]),
  );
});

test('P6: nobody vouches in the name of another node or key, and an unsigned batch vouches for nothing', () => {
  const [node, forger] = [new FakeNode(), new FakeNode()];
  const made = node.next('logins', 'log', [plainEvent()]);
  const forged = withSignature(made, forger.next('logins', 'log', []).trailer.sig!);
  const after = { ...made.header, seq: 2, prev: made.trailer.sha256 };
  const successors = [
    seal({ ...after, key: forger.publicKey }, [], forger.key),
    seal({ ...after, node: '00000000-0000-4000-8000-000000000000' }, [], node.key),
    seal({ ...after, key: undefined }, []),
  ];
  for (const { bytes } of successors) {
    const successor = [...decode(bytes)][0]!.batch!;
    assert.deepEqual([...badSignatures([forged, successor])], [[forged, REASON]]);
  }
});
