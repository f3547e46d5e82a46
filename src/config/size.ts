/** Amounts of disk as a person writes and reads them: `1GiB`, `500MB`, `5%`. */
const UNITS: Record<string, number> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const SIZE = /^(\d+(?:\.\d+)?) ?([kKMGT]i?B|B)?$/;
const SHARE = /^(\d+(?:\.\d+)?) ?%$/;

/** An amount of something of which there is a total: the smaller of a number and a share of the total, as far as given. */
export interface Amount {
  /** Bytes, or a count. */
  readonly most?: number;
  /** Of the total, 0 to 1. */
  readonly share?: number;
}

/** The amount as a number, given the total that a share is of. */
export function amountOf({ most, share }: Amount, total: number): number {
  return Math.min(
    most ?? Number.POSITIVE_INFINITY,
    share === undefined ? Number.POSITIVE_INFINITY : share * total,
  );
}

/** The amount that a size such as `1GiB`, a bare number or a share such as `5%` stands for; undefined for anything else. */
export function parseAmount(text: string): Amount | undefined {
  const share = SHARE.exec(text)?.[1];
  if (share !== undefined) return Number(share) <= 100 ? { share: Number(share) / 100 } : undefined;
  const [, number, unit = 'B'] = SIZE.exec(text) ?? [];
  const bytes = Math.round(Number(number) * (UNITS[unit] ?? Number.NaN));
  return Number.isSafeInteger(bytes) ? { most: bytes } : undefined;
}

/** A size for people, in binary units as quotas are written: `812 B`, `4.1 MiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit > 0 && size < 10 && !Number.isInteger(size) ? size.toFixed(1) : Math.floor(size)} ${units[unit]}`;
}
