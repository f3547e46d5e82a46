/**
 * Keeps what V8 takes for young objects from growing with the length of the work. It doubles that space whenever much has survived, up to 64 MiB, and holds up
 * to three such spaces; from 32 MiB on, more of it saved no time in reports, dispatch, consume or process when it was measured.
 */

const ENOUGH = 32 * 1024 * 1024;
/** How often it is asked how large the space is, in ms: that takes some microseconds. */
const EVERY = 20;

let due = 0;
let held = false;

/** Said between pieces of long work, some hundred rows or a group of batches each: from where there is enough, the space stays as it is. */
export function holdYoungSpace(): void {
  const now = performance.now();
  if (held || now < due) return;
  due = now + EVERY;
  // Most commands end before they come to this: it takes longer to load than to ask.
  const { getHeapSpaceStatistics, setFlagsFromString } = process.getBuiltinModule('node:v8');
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
  if (young === undefined || young.space_size < ENOUGH) return;
  // V8 reads this factor each time that it makes the space larger. The most that it may be is read only when a process starts.
  setFlagsFromString('--semi-space-growth-factor=1');
  held = true;
}
