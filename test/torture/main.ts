/** `npm run test:torture`: tries every fault (or those named) in its long form and prints what came of it as a table. */
import { parseArgs } from 'node:util';
import { isSound, type Tally, tryFault } from './fault.ts';
import { allFaults } from './faults.ts';
import { tableOf } from './table.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
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
const tallies: Tally[] = [];
const leftOut: string[] = [];
for (const fault of faults) {
  if (positionals.length > 0 && !positionals.includes(fault.name)) continue;
  const why = fault.leftOut?.();
  if (why !== undefined) {
    leftOut.push(`left out: ${fault.name}: ${why}`);
    continue;
  }
  const log = (text: string): void => void process.stderr.write(`torture: ${fault.name}: ${text}\n`);
  log(`${fault.promises}: ${fault.summary}`);
  try {
    tallies.push(...(await tryFault(fault, { quick: values.quick, seed, log })));
  } catch (error) {
    const problems = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
    tallies.push({ fault: fault.name, tried: 0, batches: 0, lost: 0, twice: 0, detected: null, problems });
  }
}
process.stdout.write(tableOf(tallies, leftOut));
process.exitCode = tallies.length > 0 && tallies.every(isSound) ? 0 : 1;
