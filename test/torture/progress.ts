import { setTimeout as sleep } from 'node:timers/promises';

/** How often it is looked whether a command has come so far, in ms. */
const LOOK = 5;

/**
 * Does `work` as soon as `reached` says so, while `running` has not ended. False when it had ended before. The commands of these tests
 * are at their work for a few hundred ms, so that a wait of a fixed time would meet none of them in the middle.
 */
export async function midway(
  running: Promise<unknown>,
  reached: () => boolean | Promise<boolean>,
  work: () => unknown,
): Promise<boolean> {
  let ended = false;
  const over = running.then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  while (!ended && !(await reached())) await Promise.race([sleep(LOOK), over]);
  if (ended) return false;
  await work();
  return true;
}
