import { z } from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { digestAgrees, streamStates } from '../src/store/completeness.ts';
import { NODE_STATES } from '../src/store/completeness-rules.ts';
import { gapText } from '../src/store/completeness-words.ts';

const row = z.object({
  time: z
    .string()
    .nullable()
    .describe('when the agent last ran, UTC; without a receipt, when its newest batch was made'),
  node: z.string().describe('id of the node'),
  host: z.string().describe('host name of the node'),
  action: z
    .string()
    .nullable()
    .describe('how the last run ended: ok, absent, failed; null without a receipt'),
  agent: z.string().describe('agent whose stream this is'),
  epoch: z.string().nullable().describe('epoch of the stream; null when the agent has written no batch'),
  state: z.enum(NODE_STATES).describe('forked, gapped, silent, late or complete'),
  seq: z.number().describe('number of the newest batch that is here'),
  batches: z.number().describe('batches of the stream that are here'),
  gaps: z
    .array(z.object({ from: z.number(), to: z.number() }))
    .describe('numbers of batches that are missing'),
  forks: z.number().describe('places that two batches claim'),
  epochs: z
    .number()
    .describe('epochs of this agent on this node: more than one, and its state was lost or reset'),
  every_ms: z.number().nullable().describe('how often the agent is due, milliseconds'),
  digest: z
    .boolean()
    .nullable()
    .describe('whether the replayed events give the inventory that the node says it has; null for logs'),
  reason: z.string().nullable().describe('why the last run failed or found nothing'),
});

/** The rules of the states are in src/store/completeness-rules.ts. Rows come by host name: they are about the present, not a sequence. */
export default defineReport<z.infer<typeof row>>({
  name: 'completeness',
  summary: 'whether the account is whole: per node and stream what came last and what is missing',
  since: '7d',
  row,
  columns: [
    { key: 'host' },
    { key: 'agent' },
    { key: 'state' },
    { key: 'time', title: 'last seen' },
    { key: 'action', title: 'last run' },
    { key: 'seq' },
    { key: 'gaps', title: 'missing', text: ({ gaps }) => gapText(gaps) },
    { key: 'forks', text: ({ forks }) => (forks === 0 ? '' : `${forks}`) },
    { key: 'epochs' },
    { key: 'digest', text: ({ digest }) => (digest === null ? '' : digest ? 'agrees' : 'differs') },
    { key: 'reason' },
  ],
  async *rows(store, scope) {
    for await (const streams of streamStates(store, scope)) {
      for (const stream of streams) {
        const { node, host, agent, epoch, state, batches, gaps, forks, epochs, reason } = stream;
        const newest = stream === streams.findLast((other) => other.agent === agent);
        const digest = newest && epoch !== null ? await digestAgrees(store, node, agent, epoch) : null;
        const { seen: time, outcome: action, lastSeq: seq, everyMs: every_ms } = stream;
        yield {
          time,
          node,
          host,
          action,
          agent,
          epoch,
          state,
          seq,
          batches,
          gaps: [...gaps],
          forks,
          epochs,
          every_ms,
          digest,
          reason,
        };
      }
    }
  },
});
