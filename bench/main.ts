/**
 * `npm run bench`: measures DSAC beside others (all benches, or those named), prints what came of it as a table, and writes it to results.md when
 * all of it was measured in full. `--quick` tries that every bench works, on little, and judges no figure.
 */
import { writeFileSync } from 'node:fs';
import { inspect, parseArgs } from 'node:util';
import { globalSetup, globalTeardown } from '../test/helpers/global-setup.ts';
import { servicesLeftOut } from '../test/helpers/services.ts';
import { inScope } from '../test/torture/fault.ts';
import { defaultsIn } from '../test/torture/faults.ts';
import { aligned } from '../test/torture/table.ts';
import { type Bench, type Line, leftOut } from './bench.ts';
import { describeMachine } from './machine.ts';

const RESULTS = new URL('results.md', import.meta.url);
const COLUMNS = ['name', 'ours', 'theirs', 'ratio', 'target', 'verdict'] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, seed: { type: 'string', default: '1' } },
});

const benches = await defaultsIn<Bench>(new URL('benches/', import.meta.url));
const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `bench: error: no bench ${unknown.join(', ')}\nbench: hint: there are ${benches.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(64);
}
const chosen = benches.filter(({ name }) => positionals.length === 0 || positionals.includes(name));

async function measure(bench: Bench): Promise<Line[]> {
  if (bench.services && servicesLeftOut) return [leftOut(bench.name, servicesLeftOut)];
  const log = (text: string): void => void process.stderr.write(`bench: ${bench.name}: ${text}\n`);
  const before = performance.now();
  log(bench.summary);
  const lines = await inScope(
    `dsac-bench-${bench.name}`,
    { quick: values.quick, seed: Number(values.seed), log },
    (scope) => bench.run(scope),
  );
  log(`took ${((performance.now() - before) / 1000).toFixed(1)} s`);
  return lines;
}

const JUDGED = new Set<string>(['pass', 'short']);

/** On little, what starting costs hides all else. */
function cells(line: Line): string[] {
  return COLUMNS.map((column) => (values.quick && JUDGED.has(line[column]) ? '-' : line[column]));
}

const services = chosen.some((bench) => bench.services);
const lines: Line[] = [];
let machine: string[] = [];
if (services) await globalSetup();
try {
  machine = await describeMachine(services);
  for (const bench of chosen) {
    try {
      lines.push(...(await measure(bench)));
    } catch (error) {
      process.exitCode = 1;
      process.stderr.write(`bench: error: ${bench.name}: ${inspect(error)}\n`);
    }
  }
} finally {
  if (services) await globalTeardown();
}
process.stdout.write(`${[...machine, '', ...aligned([[...COLUMNS], ...lines.map(cells)])].join('\n')}\n`);
if (!values.quick && positionals.length === 0) {
  const rows = [[...COLUMNS], COLUMNS.map(() => '---'), ...lines.map(cells)];
  const date = new Date().toISOString().slice(0, 10);
  const text = [
    '# Results of npm run bench',
    '',
    `Measured on ${date}; each ratio is the median of pairs that were measured by turns in one run.`,
    '',
    ...machine.map((line) => `- ${line}`),
    '',
    ...rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`),
  ];
  writeFileSync(RESULTS, `${text.join('\n')}\n`);
}
