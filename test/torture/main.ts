/** `npm run test:torture`: tries every fault (or those named) in its long form, as many at once as there are cores, and prints what came of it as a table. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Fault, isSound, type Tally, tryFault } from './fault.ts';
import { allFaults } from './faults.ts';
import { tableOf } from './table.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    jobs: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});

const faults = await allFaults();
const unknown = positionals.filter((name) => !faults.some((fault) => fault.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `torture: error: no fault ${unknown.join(', ')}\ntorture: hint: there are ${faults.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(64);
}
const seed = Number(values.seed);
process.stderr.write(`torture: seed ${seed}\n`);
const chosen = faults.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
const leftOut: string[] = [];
const waiting = chosen.filter((fault) => {
  const why = fault.leftOut?.();
  if (why !== undefined) leftOut.push(`left out: ${fault.name}: ${why}`);
  return why === undefined;
});

/** Tries one fault; what it throws is a problem of it. */
async function tallied(fault: Fault): Promise<Tally[]> {
  const log = (text: string): void => void process.stderr.write(`torture: ${fault.name}: ${text}\n`);
  log(`${fault.promises}: ${fault.summary}`);
  try {
    const tallies = await tryFault(fault, { quick: values.quick, seed, log });
    // Told at once: a run that is stopped has said what it knows.
    log(`done\n${tableOf(tallies, [])}`);
    return tallies;
  } catch (error) {
    const problems = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
    return [{ fault: fault.name, tried: 0, batches: 0, lost: 0, twice: 0, detected: null, problems }];
  }
}

// Each fault works in folders, queues and databases of its own, so that several may be tried at once.
const results = new Map<Fault, Tally[]>();
const upNext = waiting.values();
async function work(): Promise<void> {
  for (const fault of upNext) results.set(fault, await tallied(fault));
}
await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work));
const tallies = waiting.flatMap((fault) => results.get(fault)!);
process.stdout.write(tableOf(tallies, leftOut));
process.exitCode = tallies.length > 0 && tallies.every(isSound) ? 0 : 1;
