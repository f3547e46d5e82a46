/** Turns the configuration into what is to run: agents as tasks, dispatchers and processors as posts. */
import * as z from 'zod';
import type { Config } from '../config/load.ts';
import { didYouMean } from '../config/nearest.ts';
import { agentKeys, handlerKeys } from '../config/schema.ts';
import { parseDuration } from '../config/time.ts';
import { DsacError } from '../errors.ts';
import type { Agent } from '../plugin/agent.ts';
import { hasPlugin, loadPlugin, pluginNames } from '../plugin/registry.ts';
import { SALVAGE } from '../spool/limits.ts';
import { DEFAULT_QUOTA, type Quota } from '../spool/quota.ts';
import type { Task } from './agent-run.ts';
import type { AgentPlan, DeliverPlan } from './plan.ts';
import { type PlannedPost, type Post, postOf } from './post.ts';
import { RECEIPTS } from './receipt.ts';
import { configuredAgent, type Planned, taskOf } from './task.ts';

const DEFAULT_TIMEOUT = 300_000;
const DEFAULT_DEADLINE = 300_000;
const DEFAULT_ATTEMPTS = 10;
/** How often an inventory is sent whole unless configured, in ms. */
export const DEFAULT_SNAPSHOT = 86_400_000;

/** What the central spool may take unless configured. */
const DEFAULT_IN: Quota['bytes'] = { most: 20 * 1024 ** 3 };

/** The quota of one of this host's spools. */
export function configuredQuota({ quota = {} }: Pick<Config, 'quota'>, stack: 'out' | 'in'): Quota {
  return {
    bytes: quota[stack] ?? (stack === 'in' ? DEFAULT_IN : DEFAULT_QUOTA.bytes),
    files: quota.files ?? DEFAULT_QUOTA.files,
    free: quota.free ?? DEFAULT_QUOTA.free,
    freeInodes: quota.free_inodes ?? DEFAULT_QUOTA.freeInodes,
  };
}

/** The handlers of a spool when none are configured: no servers needed. */
const DEFAULTS = {
  dispatchers: { local: { type: 'directory' } },
  processors: { archive: {}, store: {} },
} as const;

export type HandlerFolder = keyof typeof DEFAULTS;

type Entry = { type?: string | undefined; enabled?: boolean | undefined };

/** The entry's keys that are not common to all: the plugin's own options. */
function ownOptions(entry: object, common: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(entry).filter(([key]) => !(key in common)));
}

/** Parses a plugin's options; an unknown key is compared with the common keys as well. */
function parseOptions(
  config: Config,
  path: string[],
  entry: object,
  common: z.ZodRawShape,
  schema: z.ZodType,
): unknown {
  const own = ownOptions(entry, common);
  if (schema instanceof z.ZodObject) {
    const all = z.strictObject({ ...schema.shape, ...common });
    const unknown = Object.keys(own).find((key) => !(key in all.shape));
    if (unknown !== undefined) config.section(path, { [unknown]: own[unknown] }, all.partial());
  }
  return config.section(path, own, schema);
}

function typeOf(
  config: Config,
  section: 'agents' | HandlerFolder,
  name: string,
  entry: Entry,
  known: readonly string[],
): string {
  const type = entry.type ?? name;
  if (known.includes(type)) return type;
  const path = [section, name, ...(entry.type === undefined ? [] : ['type'])];
  return config.section(
    path,
    type,
    z
      .string()
      .refine(() => false, `no ${section.slice(0, -1)} is called '${type}': ${didYouMean(type, known)}`),
  );
}

/** The agent's sources, or those of them that the configuration names. */
function sourcesOf(
  config: Config,
  name: string,
  agent: Agent,
  only: readonly string[] | undefined,
): readonly string[] {
  const all = Object.keys(agent.sources);
  for (const [index, source] of only?.entries() ?? []) {
    if (all.includes(source)) continue;
    const wrong = z
      .string()
      .refine(() => false, `${name} has no source '${source}': ${didYouMean(source, all)}`);
    config.section(['agents', name, 'sources', index], source, wrong);
  }
  return all.filter((source) => only?.includes(source) ?? true);
}

async function planFor(config: Config, name: string): Promise<Planned> {
  const entry = config.agents?.[name] ?? {};
  const type = typeOf(config, 'agents', name, entry, pluginNames('agents'));
  const agent = await loadPlugin('agents', type);
  const options = parseOptions(config, ['agents', name], entry, agentKeys, agent.options);
  return {
    name,
    type,
    options,
    sources: sourcesOf(config, name, configuredAgent(agent, name, options), entry.sources),
    everyMs: entry.every ?? parseDuration(agent.every)!,
    timeoutMs: entry.timeout ?? DEFAULT_TIMEOUT,
  };
}

/** Names of the agents that run on this node: all that come with DSAC and need no configuration, and those that are configured. */
export async function agentNames(config: Config): Promise<string[]> {
  const names = new Set(Object.keys(config.agents ?? {}));
  for (const name of pluginNames('agents')) {
    if ((await loadPlugin('agents', name)).type !== 'configured') names.add(name);
  }
  return [...names].filter((name) => config.agents?.[name]?.enabled !== false).sort();
}

/** What is planned for the agents named, or for all. Throws `usage` for a name that is none, `config` for options that are wrong. */
async function planTasks(config: Config, only: readonly string[]): Promise<Planned[]> {
  const known = await agentNames(config);
  for (const own of [RECEIPTS, SALVAGE]) {
    if (!Object.hasOwn(config.agents ?? {}, own)) continue;
    config.section(
      ['agents', own],
      own,
      z.string().refine(() => false, `'${own}' is the name of DSAC’s own stream; choose another`),
    );
  }
  for (const name of only) requireKnown('agent', name, known);
  return Promise.all((only.length > 0 ? [...new Set(only)] : known).map((name) => planFor(config, name)));
}

/** The tasks for the agents named, or for all. Throws `usage` for a name that is none, `config` for options that are wrong. */
export async function configuredTasks(config: Config, only: readonly string[]): Promise<Task[]> {
  return (await planTasks(config, only)).map(taskOf);
}

/** All that the agents named, or all, need to know of the configuration. Throws as `configuredTasks`. */
export async function planAgents(config: Config, only: readonly string[]): Promise<AgentPlan> {
  return {
    ...(config.host === undefined ? {} : { host: config.host }),
    snapshotMs: config.snapshot ?? DEFAULT_SNAPSHOT,
    quota: configuredQuota(config, 'out'),
    tasks: await planTasks(config, only),
  };
}

function requireKnown(what: string, name: string, known: readonly string[]): void {
  if (!known.includes(name))
    throw new DsacError('usage', `unknown ${what} '${name}'`, { hint: didYouMean(name, known) });
}

/** Where a handler is, by its type: in its own folder, else in the other one, so that a relay is configuration (a processor of type amqp). */
function findHandler(
  config: Config,
  folder: HandlerFolder,
  name: string,
  entry: Entry,
): Pick<PlannedPost, 'type' | 'folder'> {
  const other = folder === 'dispatchers' ? 'processors' : 'dispatchers';
  const type = typeOf(config, folder, name, entry, [...pluginNames(folder), ...pluginNames(other)]);
  return { type, folder: hasPlugin(folder, type) ? folder : other };
}

/** What is planned for the dispatchers or processors that are configured and enabled. Throws `usage` for a name in `only` that is none of them. */
async function planPosts(
  config: Config,
  folder: HandlerFolder,
  only: readonly string[],
): Promise<PlannedPost[]> {
  const entries: Record<string, NonNullable<Config[HandlerFolder]>[string]> =
    config[folder] ?? DEFAULTS[folder];
  const enabled = Object.entries(entries).filter(([, entry]) => entry?.enabled !== false);
  for (const name of only)
    requireKnown(
      folder.slice(0, -1),
      name,
      enabled.map(([known]) => known),
    );
  return Promise.all(
    enabled.map(async ([name, given]) => {
      const entry = given ?? {};
      const found = findHandler(config, folder, name, entry);
      const handler = await loadPlugin(found.folder, found.type);
      return {
        name,
        ...found,
        options: parseOptions(config, [folder, name], entry, handlerKeys, handler.options),
        agents: entry.agents ?? ['*'],
        deadlineMs: entry.deadline ?? DEFAULT_DEADLINE,
        attempts: entry.attempts ?? DEFAULT_ATTEMPTS,
      };
    }),
  );
}

/** The dispatchers or processors that are configured and enabled. Throws `usage` for a name in `only` that is none of them. */
export async function configuredPosts(
  config: Config,
  folder: HandlerFolder,
  only: readonly string[],
): Promise<Post[]> {
  return Promise.all((await planPosts(config, folder, only)).map(postOf));
}

/** All that delivery to these, or to all, needs to know of the configuration. Throws as `configuredPosts`. */
export async function planDelivery(
  config: Config,
  folder: HandlerFolder,
  only: readonly string[],
): Promise<DeliverPlan> {
  return {
    posts: await planPosts(config, folder, only),
    store: config.store ?? {},
    trust: config.trust ?? 'first-contact',
    quota: configuredQuota(config, 'in'),
  };
}
