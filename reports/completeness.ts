import * as z from 'zod';
import { defineReport } from '../src/plugin/report.ts';
import { streamStates } from '../src/store/completeness.ts';
import { NODE_STATES, type StreamState } from '../src/store/completeness-rules.ts';
import { rangesText, spanText } from '../src/store/completeness-words.ts';

const ranges = z.array(z.object({ from: z.number(), to: z.number() }));

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
  agent: z
    .string()
    .nullable()
    .describe('agent whose stream this is; null for a node that has never reported'),
  epoch: z.string().nullable().describe('epoch of the stream; null when the agent has written no batch'),
  state: z.enum(NODE_STATES).describe('the worst of the findings; complete when there is none'),
  findings: z.array(z.enum(NODE_STATES)).describe('what keeps the stream from being complete'),
  seq: z.number().describe('number of the newest batch that is here'),
  batches: z.number().describe('batches of the stream that are here'),
  received: ranges.describe('numbers of batches that are here, at most 1,000 ranges'),
  missing: z.number().describe('how many batches are missing in the window'),
  gaps: ranges.describe('their numbers, at most 1,000 ranges'),
  forks: z.number().describe('batches that claim a place of another one in the window'),
  epochs: z
    .number()
    .describe('epochs of this agent on this node: more than one, and its state was lost or reset'),
  restarted: z.string().nullable().describe('when this epoch began, where that was a restart in the window'),
  ahead_ms: z
    .number()
    .nullable()
    .describe(
      'by how much at least times are ahead of the centre’s clock; null: not by more than two minutes',
    ),
  losses: z.number().describe('how often the agent told in the window that a part of its source was lost'),
  loss: z.string().nullable().describe('what it said the last time'),
  every_ms: z.number().nullable().describe('how often the agent is due, milliseconds'),
  digest: z
    .boolean()
    .nullable()
    .describe('whether the replayed events give the inventory that the node says it has; null for logs'),
  differed: z
    .object({ from: z.string(), to: z.string().nullable() })
    .nullable()
    .describe('since when, in the window, they did not, and until which batch'),
  retired: z.string().nullable().describe('when the node was taken out of use'),
  retired_for: z.string().nullable().describe('why it was, in the words of who did'),
  reason: z.string().nullable().describe('why the last run failed or found nothing'),
});

type Row = z.infer<typeof row>;

/** Fields in the order of the schema. */
function rowOf(stream: StreamState): Row {
  const { node, host, agent, epoch, state, findings, batches, received, missing, gaps, forks, epochs } =
    stream;
  const { restarted, losses, loss, digest, differed, retired, retiredFor, reason } = stream;
  return {
    time: stream.seen,
    node,
    host,
    action: stream.outcome,
    agent,
    epoch,
    state,
    findings: [...findings],
    seq: stream.lastSeq,
    batches,
    received: [...received],
    missing,
    gaps: [...gaps],
    forks,
    epochs,
    restarted,
    ahead_ms: stream.aheadMs,
    losses,
    loss,
    every_ms: stream.everyMs,
    digest,
    differed,
    retired,
    retired_for: retiredFor,
    reason,
  };
}

const minute = (time: string | null): string => (time ?? '').slice(0, 16).replace('T', ' ');

function digestText({ digest, differed }: Row): string {
  if (digest === false) return differed ? `differs since ${minute(differed.from)}` : 'differs';
  if (differed) return `agrees again since ${minute(differed.to)}`;
  return digest ? 'agrees' : '';
}

function remark({ losses, loss, reason, retired, retired_for }: Row): string {
  const lost = losses > 0 && `history lost${losses > 1 ? ` ${losses} times` : ''}: ${loss}`;
  const out = retired && `retired ${retired.slice(0, 10)}${retired_for ? `: ${retired_for}` : ''}`;
  return [lost, reason, out].filter(Boolean).join('; ');
}

/** The rules of the states are in src/store/completeness-rules.ts. Rows come by host name: they are about the present, not a sequence. */
export default defineReport<Row>({
  name: 'completeness',
  summary:
    'whether the account is whole: per node and stream what came, what is missing, what throws doubt on it',
  since: '7d',
  row,
  columns: [
    { key: 'host' },
    { key: 'agent' },
    {
      key: 'state',
      text: ({ findings }) => (findings.length === 0 ? 'complete' : findings.join(', ')),
    },
    { key: 'time', title: 'last seen' },
    { key: 'action', title: 'last run' },
    { key: 'batches' },
    { key: 'received', text: ({ received }) => rangesText(received) },
    { key: 'gaps', title: 'missing', text: ({ gaps }) => rangesText(gaps) },
    { key: 'forks', text: ({ forks }) => (forks === 0 ? '' : `${forks}`) },
    { key: 'restarted' },
    {
      key: 'ahead_ms',
      title: 'ahead',
      text: ({ ahead_ms }) => (ahead_ms === null ? '' : spanText(ahead_ms)),
    },
    { key: 'digest', text: digestText },
    { key: 'reason', title: 'remark', text: remark },
  ],
  async *rows(store, scope) {
    for await (const streams of streamStates(store, scope)) for (const stream of streams) yield rowOf(stream);
  },
});
