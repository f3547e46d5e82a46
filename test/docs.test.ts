/** The documentation against what it documents. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as z from 'zod';
import type { Agent } from '../src/plugin/agent.ts';
import { loadPlugin, type PluginFolder, pluginNames } from '../src/plugin/registry.ts';
import { assertGolden } from './helpers/golden.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** The rows of README's table whose first column is headed `heading`. */
function tableRows(heading: string): string[] {
  const lines = readme.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  assert.ok(start >= 0, `README has no table '${heading}'`);
  const rows = lines.slice(start + 2);
  return rows.slice(
    0,
    rows.findIndex((line) => !line.startsWith('|')),
  );
}

async function registryRows(folder: PluginFolder): Promise<string[]> {
  return Promise.all(
    pluginNames(folder).map(async (name) => {
      const plugin = await loadPlugin(folder, name);
      const kind =
        'every' in plugin
          ? ` ${plugin.type} | ${plugin.type === 'configured' ? 'as configured' : plugin.every} |`
          : '';
      return `| \`${name}\` |${kind} ${plugin.summary} |`;
    }),
  );
}

for (const folder of ['agents', 'dispatchers', 'processors', 'reports'] as const) {
  test(`README's table of ${folder} is what the registry finds`, async () => {
    assert.deepEqual(tableRows(folder.slice(0, -1)), await registryRows(folder));
  });
}

test('README says why each dependency is there, and of no other', () => {
  assert.deepEqual(
    tableRows('package')
      .map((row) => row.split('|')[1]!.trim())
      .sort(),
    Object.keys(manifest.dependencies).sort(),
  );
});

test('README and docs link to files that exist', () => {
  for (const file of [
    'README.md',
    ...readdirSync(new URL('../docs', import.meta.url)).map((name) => `docs/${name}`),
  ]) {
    const base = new URL(`../${file}`, import.meta.url);
    for (const [, target] of readFileSync(base, 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      assert.ok(existsSync(new URL(target!, base)), `${file} links to ${target}`);
    }
  }
});

function typeName(schema: z.ZodType): string {
  const {
    type,
    enum: choices,
    items,
    anyOf,
  } = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'output' }) as Record<string, unknown> & {
    enum?: unknown[];
    items?: { type?: string };
    anyOf?: { type?: string }[];
  };
  if (choices) return choices.map((choice) => `\`${String(choice)}\``).join(', ');
  if (type === 'array') return `list of ${items?.type ?? 'values'}s`;
  if (anyOf) return anyOf.map((one) => one.type).join(' or ');
  return String(type ?? 'any');
}

/** docs/agents.md: each agent's fields and words, from its own schema. */
async function agentsPage(): Promise<string> {
  const lines = [
    '# Agents: their fields and words',
    '',
    'Written from the agents’ own schemas; a test holds this page against them.',
  ];
  for (const name of pluginNames('agents')) {
    const agent = await loadPlugin('agents', name);
    lines.push(
      '',
      `## ${name}`,
      '',
      `${agent.summary[0]!.toUpperCase()}${agent.summary.slice(1)}. ${agent.type === 'configured' ? 'Runs where it is configured.' : `Kind: ${agent.type}; due every ${agent.every}.`}`,
    );
    const tables: [string, z.ZodType][] = [['option', agent.options]];
    if (agent.type !== 'configured') {
      lines.push(
        '',
        `Sources: ${Object.keys((agent as Agent).sources)
          .map((source) => `\`${source}\``)
          .join(', ')}.`,
      );
      tables.push([
        agent.type === 'inventory' ? 'field of an item' : 'field of an event’s data',
        agent.fields,
      ]);
    }
    for (const [heading, schema] of tables) lines.push(...schemaTable(heading, schema));
    if (agent.type !== 'configured') {
      lines.push('', '| action | meaning |', '|---|---|');
      for (const [action, meaning] of Object.entries(agent.actions))
        lines.push(`| \`${action}\` | ${meaning} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function schemaTable(heading: string, schema: z.ZodType): string[] {
  if (!(schema instanceof z.ZodObject) || Object.keys(schema.shape).length === 0) return [];
  const rows = Object.entries(schema.shape as Record<string, z.ZodType>).map(
    ([field, type]) => `| \`${field}\` | ${typeName(type)} | ${type.description ?? ''} |`,
  );
  return ['', `| ${heading} | type | meaning |`, '|---|---|---|', ...rows];
}

test('docs/agents.md is what the agents’ schemas say', async () => {
  assertGolden(
    new URL('../docs/agents.md', import.meta.url),
    await agentsPage(),
    'docs/agents.md is out of date',
  );
});
