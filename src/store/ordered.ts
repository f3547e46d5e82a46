/** Lists up to this length are put in order by insertion: the engine's sort takes some hundred bytes for each. */
const SHORT = 8;

/** A list in order, equal ones as they stand; itself where it is in order already, as most of the many short ones here are. */
export function ordered<T>(list: readonly T[], compare: (a: T, b: T) => number): readonly T[] {
  const isInOrder = list.every((one, at) => at === 0 || compare(list[at - 1]!, one) <= 0);
  if (isInOrder) return list;
  if (list.length > SHORT) return list.toSorted(compare);
  const sorted: T[] = [];
  for (const one of list) {
    let at = sorted.length;
    while (at > 0 && compare(sorted[at - 1]!, one) > 0) at--;
    sorted.splice(at, 0, one);
  }
  return sorted;
}
