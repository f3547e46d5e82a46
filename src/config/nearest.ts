import { closestMatch } from 'leven';

/** `did you mean 'packages'?`, or the whole list where nothing is near; for hints after an unknown name. */
export function didYouMean(given: string, known: readonly string[]): string {
  const near = closestMatch(given, known, { maxDistance: Math.max(2, Math.floor(given.length / 3)) });
  if (near !== undefined) return `did you mean '${near}'?`;
  return known.length > 0 ? `known are: ${[...new Set(known)].sort().join(', ')}` : 'there are none';
}
