/** What every agent must keep to. Each agent's test calls this with its own plugin and, where it has one, a tree with something to find. */
import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { nameSchema } from '../../src/config/name.ts';
import { parseDuration } from '../../src/config/time.ts';
import type { AnyAgent } from '../../src/plugin/agent.ts';
import { hasPlugin } from '../../src/plugin/registry.ts';
import { Bench } from '../helpers/bench.ts';
import { temporary } from '../helpers/tree.ts';

export interface AgentCase {
  /** Lays out a machine with something for the agent to find, and answers its root. Not for the template, which finds without. */
  readonly tree?: (t: TestContext) => string;
  /** False for the template, which is not a plugin of the registry. */
  readonly registered?: boolean;
}

/** The object schemas inside a schema, whose fields are what a reader of the docs sees. */
function* shapes(schema: unknown): Generator<Record<string, z.ZodType>> {
  if (schema instanceof z.ZodObject) yield schema.shape as Record<string, z.ZodType>;
  if (schema instanceof z.ZodUnion) for (const option of schema.options) yield* shapes(option);
}

/** The tests that hold for any agent. */
export function agentConformance(agent: AnyAgent, given: AgentCase = {}): void {
  const about = (rule: string): string => `agent ${agent.name}: ${rule}`;

  test(about('is called as its file, and says what it does in one phrase'), () => {
    nameSchema.parse(agent.name);
    if (given.registered !== false) assert.ok(hasPlugin('agents', agent.name));
    assert.match(agent.summary, /^\P{Lu}.{8,90}[^.]$/u, 'lower case, no full stop');
    assert.ok(parseDuration(agent.every), `every: ${agent.every}`);
  });
  if (agent.type === 'configured') return;

  test(about('explains every field and every action'), () => {
    for (const shape of shapes(agent.fields)) {
      for (const [field, schema] of Object.entries(shape))
        assert.ok(schema.description, `field ${field} has no description`);
    }
    for (const [action, meaning] of Object.entries(agent.actions)) {
      nameSchema.parse(action);
      assert.ok(meaning.length > 3, `action ${action} has no meaning`);
    }
    for (const source of Object.keys(agent.sources)) nameSchema.parse(source);
  });

  test(about('runs without options, and refuses unknown ones'), () => {
    agent.options.parse({});
    assert.throws(() => agent.options.parse({ 'no-such-option': 1 }));
  });

  test(about('finds its sources absent, with reasons, on a machine that has nothing'), async (t) => {
    if (given.registered === false) return;
    const bench = new Bench(t);
    bench.rootfs = temporary(t);
    const { outcome, sources } = await bench.run(agent);
    assert.equal(outcome, 'absent', JSON.stringify(sources));
    for (const { name, reason } of sources) assert.ok(reason, `${name} is absent without a reason`);
    assert.deepEqual(bench.batches(agent.name), []);
  });

  test(about('tells what it finds in words that it has explained, and tells it once'), async (t) => {
    const bench = new Bench(t);
    bench.rootfs = given.tree?.(t) ?? temporary(t);
    const first = await bench.run(agent);
    assert.ok(first.outcome === 'ok' || first.outcome === 'failed', first.reason ?? first.outcome);
    const told = bench.events(agent.name);
    assert.ok(told.length > 0, 'it found nothing');
    const words = new Set([...Object.keys(agent.actions), 'present']);
    for (const { action } of told) assert.ok(words.has(action), `action '${action}' is not explained`);
    bench.later(3_600_000);
    await bench.run(agent);
    assert.deepEqual(
      bench.events(agent.name).slice(told.length),
      [],
      'the second run on the same tree tells something again',
    );
  });

  test(about('does not follow a machine’s links out of its tree'), async (t) => {
    const bench = new Bench(t);
    bench.rootfs = temporary(t);
    const outside = given.tree?.(t) ?? '/';
    for (const folder of ['etc', 'var', 'usr', 'run', 'lib']) {
      symlinkSync(relative(bench.rootfs, join(outside, folder)), join(bench.rootfs, folder));
    }
    await bench.run(agent);
    assert.deepEqual(bench.batches(agent.name), [], 'it read the files outside');
  });
}
