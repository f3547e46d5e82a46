/** Which of two versions is newer, by the rules of each package manager. Every comparison returns < 0, 0 or > 0, as for `sort`. */

/** A package manager whose order of versions is known. */
export type Manager = 'dpkg' | 'rpm' | 'apk' | 'pacman';

type Compare = (a: string, b: string) => number;

const DIGIT = /\d/;
const ALNUM = /[A-Za-z0-9]/;

/** Runs of decimal digits as numbers of any length; an empty run is 0. */
function compareDigits(a: string, b: string): number {
  const [one, two] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return one.length - two.length || compareText(one, two);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The run at `at` that `pattern` (sticky) matches, or ''. */
function runAt(value: string, at: number, pattern: RegExp): string {
  pattern.lastIndex = at;
  return pattern.exec(value)?.[0] ?? '';
}

/** Splits `epoch:version-release`; epoch '0' and release undefined when not given. The release follows the last hyphen. */
function split(full: string): { epoch: string; version: string; release: string | undefined } {
  const [, epoch = '0', rest = ''] = /^(?:(\d*):)?(.*)$/s.exec(full)!;
  const hyphen = rest.lastIndexOf('-');
  return hyphen < 0
    ? { epoch, version: rest, release: undefined }
    : { epoch, version: rest.slice(0, hyphen), release: rest.slice(hyphen + 1) };
}

/** Weight of a character outside numbers (Debian policy 5.6.12): `~` before the end, the end before letters, letters before all else. */
function dpkgWeight(char: string | undefined): number {
  if (char === undefined || DIGIT.test(char)) return 0;
  if (char === '~') return -1;
  return char.charCodeAt(0) + (/[A-Za-z]/.test(char) ? 0 : 0x10000);
}

/** Upstream versions or revisions in Debian's order: by turns a part without digits, then a number. */
function compareDpkgPart(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !DIGIT.test(a[i]!)) || (j < b.length && !DIGIT.test(b[j]!))) {
      const order = dpkgWeight(a[i]) - dpkgWeight(b[j]);
      if (order !== 0) return order;
      i++;
      j++;
    }
    const [one, two] = [runAt(a, i, /\d*/y), runAt(b, j, /\d*/y)];
    const order = compareDigits(one, two);
    if (order !== 0) return order;
    i += one.length;
    j += two.length;
  }
  return 0;
}

/** Debian's order of `[epoch:]upstream[-revision]`; no revision equals revision 0. */
export function compareDpkg(a: string, b: string): number {
  const [one, two] = [split(a), split(b)];
  return (
    compareDigits(one.epoch, two.epoch) ||
    compareDpkgPart(one.version, two.version) ||
    compareDpkgPart(one.release ?? '', two.release ?? '')
  );
}

/** `~` sorts before everything, even the end; `^` after the end but before anything else. Undefined when neither is next. */
function compareRpmMark(a: string | undefined, b: string | undefined): number | undefined {
  if (a === '~' || b === '~') return a === b ? 0 : a === '~' ? -1 : 1;
  if (a !== '^' && b !== '^') return undefined;
  if (a === b) return 0;
  return a === undefined || (a === '^' && b !== undefined) ? -1 : 1;
}

/** The segments at `i` and `j`, both numbers or both letters by what `a` has there; a number beats letters. */
function compareSegment(one: string, two: string): number {
  const numeric = DIGIT.test(one);
  if (two === '') return numeric ? 1 : -1;
  return numeric ? compareDigits(one, two) : compareText(one, two);
}

/** The run of digits, or of letters, that starts at `i` in `a`, and the run of the same kind at `j` in `b`. */
function segmentsAt(a: string, i: number, b: string, j: number): [string, string] {
  const kind = DIGIT.test(a[i]!) ? /\d*/y : /[A-Za-z]*/y;
  return [runAt(a, i, kind), runAt(b, j, kind)];
}

function skipWhile(value: string, from: number, skipped: (char: string) => boolean): number {
  let at = from;
  while (at < value.length && skipped(value[at]!)) at++;
  return at;
}

const isRpmSeparator = (char: string): boolean => !ALNUM.test(char) && char !== '~' && char !== '^';

/** Versions or releases in rpm's order (rpm >= 4.15): segments of digits or letters, separators ignored. */
function compareRpmPart(a: string, b: string): number {
  let [i, j] = [0, 0];
  for (;;) {
    i = skipWhile(a, i, isRpmSeparator);
    j = skipWhile(b, j, isRpmSeparator);
    const mark = compareRpmMark(a[i], b[j]);
    if (mark !== undefined) {
      if (mark !== 0) return mark;
      i++;
      j++;
      continue;
    }
    if (i >= a.length || j >= b.length) return Math.sign(a.length - i) - Math.sign(b.length - j);
    const [one, two] = segmentsAt(a, i, b, j);
    const order = compareSegment(one, two);
    if (order !== 0) return order;
    i += one.length;
    j += two.length;
  }
}

/** rpm's order of `[epoch:]version-release`; no epoch equals epoch 0. */
export function compareRpm(a: string, b: string): number {
  const [one, two] = [split(a), split(b)];
  return (
    compareDigits(one.epoch, two.epoch) ||
    compareRpmPart(one.version, two.version) ||
    compareRpmPart(one.release ?? '', two.release ?? '')
  );
}

const isPacmanSeparator = (char: string): boolean => !ALNUM.test(char);

/** What is left when one version ends first: left-over letters are older than the end (1.0rc < 1.0), all else is newer. */
function comparePacmanRest(a: string, b: string): number {
  if (a === b) return 0;
  return /^[A-Za-z]/.test(a) || (a === '' && !/^[A-Za-z]/.test(b)) ? -1 : 1;
}

/** Versions in libalpm's order: rpm's older one, in which the length of a separator counts and `~` and `^` are separators. */
function comparePacmanPart(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const [from, start] = [i, j];
    i = skipWhile(a, i, isPacmanSeparator);
    j = skipWhile(b, j, isPacmanSeparator);
    if (i >= a.length || j >= b.length) break;
    if (i - from !== j - start) return i - from - (j - start);
    const [one, two] = segmentsAt(a, i, b, j);
    const order = compareSegment(one, two);
    if (order !== 0) return order;
    i += one.length;
    j += two.length;
  }
  return comparePacmanRest(a.slice(i), b.slice(j));
}

/** pacman's order of `[epoch:]version[-release]`; releases count only when both have one. */
export function comparePacman(a: string, b: string): number {
  const [one, two] = [split(a), split(b)];
  const order = compareDigits(one.epoch, two.epoch) || comparePacmanPart(one.version, two.version);
  if (order !== 0 || one.release === undefined || two.release === undefined) return order;
  return comparePacmanPart(one.release, two.release);
}

/** apk's suffixes, oldest first; those before '' make a version older than the same one without a suffix. */
const APK_SUFFIXES = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p'];
const APK_VERSION =
  /^(?<numbers>\d+(?:\.\d+)*)(?<letter>[a-z]?)(?<suffixes>(?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*)(?<hash>(?:~[0-9a-f]+)?)(?:-r(?<release>\d+))?$/;

/** Numbers after the first compare as fractions when either has a leading zero: 1.05 < 1.1. The shorter list is older. */
function compareApkNumbers(a: string, b: string): number {
  const [one, two] = [a.split('.'), b.split('.')];
  for (let at = 0; at < Math.min(one.length, two.length); at++) {
    const [x, y] = [one[at]!, two[at]!];
    const fraction = at > 0 && (x.startsWith('0') || y.startsWith('0'));
    const order = fraction ? compareText(x, y) : compareDigits(x, y);
    if (order !== 0) return order;
  }
  return one.length - two.length;
}

/** `_rc1_p2` against `_rc1`, suffix by suffix; a missing one ranks as ''. */
function compareApkSuffixes(a: string, b: string): number {
  const [one, two] = [a.split('_').slice(1), b.split('_').slice(1)];
  for (let at = 0; at < Math.max(one.length, two.length); at++) {
    const [, x = '', n = ''] = /^([a-z]*)(\d*)$/.exec(one[at] ?? '')!;
    const [, y = '', m = ''] = /^([a-z]*)(\d*)$/.exec(two[at] ?? '')!;
    const order =
      APK_SUFFIXES.indexOf(x) - APK_SUFFIXES.indexOf(y) || compareDigits(n, m) || n.length - m.length;
    if (order !== 0) return order;
  }
  return 0;
}

/** apk's order of `1.2.3b_rc4-r5`. A version outside apk's grammar has no order of its own there; rpm's is used. */
export function compareApk(a: string, b: string): number {
  const [one, two] = [APK_VERSION.exec(a)?.groups, APK_VERSION.exec(b)?.groups];
  if (one === undefined || two === undefined) return compareRpm(a, b);
  return (
    compareApkNumbers(one.numbers!, two.numbers!) ||
    compareText(one.letter!, two.letter!) ||
    compareApkSuffixes(one.suffixes!, two.suffixes!) ||
    compareText(one.hash!, two.hash!) ||
    Number(one.release !== undefined) - Number(two.release !== undefined) ||
    compareDigits(one.release ?? '', two.release ?? '')
  );
}

const ORDERS: Readonly<Record<Manager, Compare>> = {
  dpkg: compareDpkg,
  rpm: compareRpm,
  apk: compareApk,
  pacman: comparePacman,
};

/** Whether `a` is older (< 0), equal (0) or newer (> 0) than `b`, as `manager` sees it. */
export function compareVersions(manager: Manager, a: string, b: string): number {
  return ORDERS[manager](a, b);
}
