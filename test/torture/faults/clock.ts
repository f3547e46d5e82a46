/** A clock that jumps between runs, forth and back by an hour and a year. */
import { globSync } from 'node:fs';
import type { Fault } from '../fault.ts';
import { type Trial, tryEach } from '../trials.ts';
import { DIRECTORY, World } from '../world.ts';

/** Where Debian's package faketime has its library. */
const LIBRARY = '/usr/lib/*/faketime/libfaketime.so.1';
/** How far from the real time each round is, in faketime's words. */
const JUMPS = ['+1h', '+0', '-1h', '+0', '+1y', '+0', '-1y', '+0', '+1y', '-1y', '+1h', '+1y', '-1h', '-1y'];
const QUICK_JUMPS = ['+1y', '-1y'];

export default {
  name: 'clock',
  promises: 'P1 P2 P3',
  summary: 'a clock that jumps by an hour or a year, forth and back, loses nothing and doubles nothing',
  leftOut: () => (globSync(LIBRARY).length === 0 ? 'libfaketime is not installed' : undefined),
  async run({ quick, scratch }) {
    const world = await World.make(scratch, DIRECTORY);
    const library = globSync(LIBRARY)[0]!;
    const trials: Trial[] = (quick ? QUICK_JUMPS : JUMPS).map(
      (jump) => (step) =>
        world.step(step, [], { LD_PRELOAD: library, FAKETIME: jump, FAKETIME_DONT_FAKE_MONOTONIC: '1' }),
    );
    return [{ ...(await tryEach('clock jumps', world, trials)), detected: null }];
  },
} satisfies Fault as Fault;
