/** Makes an agent's task of what the configuration says of it. The agent itself is loaded only when it has something to read. */
import type { Agent, AnyAgent } from '../plugin/agent.ts';
import type { Task } from './agent-run.ts';

/** What the configuration, once checked, says of one agent: plain JSON. */
export interface Planned {
  readonly name: string;
  /** Which agent in agents/ it is. */
  readonly type: string;
  readonly options: unknown;
  /** The sources that it reads. */
  readonly sources: readonly string[];
  readonly everyMs: number;
  readonly timeoutMs: number;
}

/** The agent as its options make it, under its configured name. */
export function configuredAgent(agent: AnyAgent, name: string, options: unknown): Agent {
  return agent.type === 'configured' ? agent.create(name, options) : agent;
}

/** The task of an agent. */
export function taskOf({ name, type, options, sources, everyMs, timeoutMs }: Planned): Task {
  return {
    name,
    options,
    settings: { type, options, sources },
    everyMs,
    timeoutMs,
    async load() {
      const { loadPlugin } = await import('../plugin/registry.ts');
      const agent = configuredAgent(await loadPlugin('agents', type), name, options);
      const own = Object.entries(agent.sources).filter(([source]) => sources.includes(source));
      return { ...agent, sources: Object.fromEntries(own) } as Agent;
    },
  };
}
