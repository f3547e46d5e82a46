/** The fields that every row of a report has. */
import * as z from 'zod';

export const rowShape = {
  time: z
    .string()
    .describe('when it happened, UTC; where only a look at the inventory shows it, when that was'),
  node: z.string().describe('id of the node'),
  host: z.string().describe('host name of the node at that time'),
  action: z.string().describe('what happened, in the agent’s words'),
};
