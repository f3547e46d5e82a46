/** The shape of etc/dsac/dsac.yaml. What belongs to one plugin is checked by that plugin's own options schema when it is used. */
import * as z from 'zod';
import { nameSchema } from './name.ts';
import { parseAmount } from './size.ts';
import { DURATION_FORMS, parseDuration } from './time.ts';

/** A duration such as `15m`; parsed to milliseconds. */
export const durationSchema = z.string().transform((text, context) => {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  context.addIssue({ code: 'custom', message: `'${text}' is not a duration: use ${DURATION_FORMS}` });
  return z.NEVER;
});

/** A size such as `1GiB` or `500MB`, a bare number, or a share such as `5%`. */
export const amountSchema = z.union([z.string(), z.number()]).transform((given, context) => {
  const amount = parseAmount(String(given));
  if (amount !== undefined) return amount;
  context.addIssue({
    code: 'custom',
    message: `'${given}' is not an amount: use a size such as 500MB or 1GiB, a number, or a share such as 5%`,
  });
  return z.NEVER;
});

/** A glob over agent names: letters, digits, `-`, and `*`, `?`, `[…]`, `{…,…}` that are closed. */
const GLOB = /^(?:[\w*?-]|\[!?[\w-]+\]|\{[\w*?,-]+\})+$/;

const agentGlobSchema = z
  .string()
  .regex(
    GLOB,
    "not a glob over agent names: use a name, or patterns such as '*', 'package*' or '{logins,users}'",
  );

/** Keys that every agent's entry may have beside the agent's own options. */
export const agentKeys = {
  type: nameSchema.optional().describe('which agent in agents/ this is; default: the entry’s own name'),
  enabled: z.boolean().optional().describe('false: never run'),
  every: durationSchema.optional().describe('how often it is due'),
  timeout: durationSchema.optional().describe('its deadline; default 5m'),
  sources: z
    .array(nameSchema)
    .nonempty()
    .optional()
    .describe('the only sources that it reads; default all that are there'),
};

/** Keys that every dispatcher's and processor's entry may have beside the handler's own options. */
export const handlerKeys = {
  type: nameSchema.optional().describe('which handler this is; default: the entry’s own name'),
  enabled: z.boolean().optional().describe('false: takes nothing and is given nothing'),
  agents: z
    .array(agentGlobSchema)
    .nonempty()
    .optional()
    .describe('names or globs of the agents whose batches it wants; default all'),
  deadline: durationSchema.optional().describe('how long one run may work; default 5m'),
  attempts: z
    .int()
    .min(1)
    .optional()
    .describe('tries for a batch that fails by its own fault before it goes to failed/; default 10'),
};

const agentEntry = z.looseObject(agentKeys);
const handlerEntry = z.looseObject(handlerKeys);

const quotaSchema = z.strictObject({
  out: amountSchema
    .optional()
    .describe(
      'most that the node’s spool may take: a size (1GiB) or a share of its file system (5%); default 1GiB',
    ),
  in: amountSchema.optional().describe('most that the central spool may take; default 20GiB'),
  files: z.int().min(100).optional().describe('most files in either spool; default 100000'),
  free: amountSchema
    .optional()
    .describe(
      'what a file system must have left for DSAC to write to it: a size or a share; default 5%, at most 128MiB',
    ),
  free_inodes: amountSchema
    .optional()
    .describe('inodes that it must have left: a number or a share; default 5%, at most 2000'),
});

/** Consumer options beside the connection are checked by src/run/consume.ts. */
export const configSchema = z.strictObject({
  host: z.string().min(1).max(255).optional().describe('the name this node reports; default: its host name'),
  snapshot: durationSchema.optional().describe('how often an inventory is sent whole; default 24h'),
  quota: quotaSchema
    .optional()
    .describe('how much the spools may hold; what does not fit stays where it is, and is told'),
  agents: z
    .record(nameSchema, agentEntry.nullable())
    .optional()
    .describe('changes to agents, and agents of your own'),
  dispatchers: z
    .record(nameSchema, handlerEntry.nullable())
    .optional()
    .describe('where this node sends batches'),
  consume: z.looseObject({}).optional().describe('the broker that the centre takes batches from'),
  processors: z
    .record(nameSchema, handlerEntry.nullable())
    .optional()
    .describe('what the centre does with batches'),
  trust: z
    .enum(['first-contact', 'pinned'])
    .optional()
    .describe(
      'whose batches the centre takes: from a node that it hears for the first time too (default), or only from nodes it was told of',
    ),
  store: z
    .strictObject({
      url: z.string().min(1).optional().describe('sqlite:PATH or mysql://user@host:port/database'),
      password_file: z.string().min(1).optional().describe('a file that holds the password'),
    })
    .optional()
    .describe('the database that reports read'),
});

/** Which nodes a centre takes batches from. */
export type Trust = NonNullable<ConfigData['trust']>;
export type ConfigData = z.infer<typeof configSchema>;
