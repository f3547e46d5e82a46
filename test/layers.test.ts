import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tree } from './helpers/tree.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

const forbidden: [folder: string, specifier: string][] = [
  ['src/config', '../spool/batch.ts'],
  ['src/spool', '../plugin/agent.ts'],
  ['src/spool', 'amqplib'],
  ['src/host', '../plugin/agent.ts'],
  ['src/source', '../store/store.ts'],
  ['src/evidence', '../run/identity.ts'],
  ['src/archive', '../store/store.ts'],
  ['src/store', '../run/collect.ts'],
  ['src/amqp', '../store/store.ts'],
  ['src/plugin', '../run/collect.ts'],
  ['src/plugin', '../source/follow.ts'],
  ['src/run', '../cli/main.ts'],
  ['src/run', '../../agents/packages.ts'],
  ['src/cli', '../../reports/packages.ts'],
  ['agents', '../src/store/store.ts'],
  ['agents', 'mysql2'],
  ['dispatchers', '../agents/packages.ts'],
  ['processors', '../src/run/deliver.ts'],
  ['reports', '../src/cli/main.ts'],
];

test('lint refuses an import against the layers, in every layer', (t) => {
  const config = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
  const files = forbidden.map(([folder, specifier], n) => [
    `${folder}/x${n}.ts`,
    `import * as it from '${specifier}';\n\nexport default it;\n`,
  ]);
  const project = tree(t, {
    'biome.json': JSON.stringify({ ...config, vcs: {} }),
    ...Object.fromEntries(files),
  });
  const biome = join(root, 'node_modules/.bin/biome');
  const { stdout } = spawnSync(
    biome,
    ['lint', '--only=style/noRestrictedImports', '--reporter=github', '--max-diagnostics=none'],
    {
      cwd: project,
      encoding: 'utf8',
    },
  );
  for (const [n, [folder, specifier]] of forbidden.entries()) {
    assert.match(
      stdout,
      new RegExp(`noRestrictedImports.*/${folder}/x${n}\\.ts`),
      `${specifier} in ${folder}`,
    );
  }
});

/** Packages and files that a file loads as soon as it is imported, itself included. */
function loaded(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const code = readFileSync(join(root, file), 'utf8');
  for (const [, clause, specifier] of code.matchAll(
    /^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'/gm,
  )) {
    if (clause) continue;
    if (specifier!.startsWith('.')) loaded(normalize(join(dirname(file), specifier!)), seen);
    else seen.add(specifier!);
  }
  return seen;
}

const HEAVY = ['amqplib', 'mysql2', 'mysql2/promise', 'kysely', 'fast-glob', 'pino'];

for (const file of [
  ...globSync('agents/*.ts', { cwd: root }),
  'src/cli/program.ts',
  'src/run/collect.ts',
  'src/run/deliver.ts',
]) {
  test(`${file} loads nothing heavy before it is needed`, () => {
    const all = loaded(file);
    assert.deepEqual(
      HEAVY.filter((name) => all.has(name)),
      [],
    );
  });
}

test('an agent that has nothing to read, and a configuration that is known, load no checks', () => {
  const all = loaded('src/cli/commands/agent.ts');
  assert.deepEqual(
    [...all].filter((name) => ['zod', 'yaml', 'leven', 'src/run/agent-run.ts'].includes(name)),
    [],
  );
});

test('starting dsac loads nothing from outside, and commander alone once a command is asked for', () => {
  const outside = (file: string): string[] =>
    [...loaded(file)].filter((name) => !name.endsWith('.ts') && !name.startsWith('node:'));
  assert.deepEqual(outside('src/cli/main.ts'), []);
  assert.deepEqual(outside('src/cli/program.ts'), ['commander']);
});
