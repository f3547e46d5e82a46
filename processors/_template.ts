/** Copy this file to processors/<name>.ts, and its test to test/processors/<name>.test.ts: a processor is this much and no more. */
import * as z from 'zod';
import { type Answer, DELIVERED, defineProcessor, type Parcel } from '../src/plugin/handler.ts';

const options = z.strictObject({
  most: z.int().min(0).default(1000).describe('batches with more events than this are refused'),
});

function judge({ batch: { trailer } }: Parcel, most: number): Answer {
  if (trailer.count <= most) return DELIVERED;
  return { status: 'rejected', reason: `${trailer.count} events, more than ${most}` };
}

export default defineProcessor({
  name: 'template',
  summary: 'refuses batches with very many events, and lets the rest pass',
  options,
  async open({ options: { most } }) {
    return {
      async deliver(parcels) {
        return parcels.map((parcel) => judge(parcel, most));
      },
      async close() {},
    };
  },
});
