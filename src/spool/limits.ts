/** The numbers and names of format version 1, for whoever does without its schemas (batch.ts), which take longer to load than many a run. */

export const FORMAT_VERSION = 1;
/** Longest line a reader accepts, in bytes (docs/format.md, what a reader must reject). */
export const MAX_LINE = 16 * 1024 * 1024;
/** Longest batch a reader accepts, in bytes. */
export const MAX_BATCH = 64 * 1024 * 1024;
/** Most bytes a compressed file may unfold to. */
export const MAX_UNFOLDED = 256 * 1024 * 1024;
/** Most changes of key that a header tells of. */
export const MAX_SUCCESSION = 16;
/** Most Zstandard frames that a compressed file may have. */
export const MAX_FRAMES = 4096;
/** Deepest nesting of objects and arrays in an event. */
export const MAX_DEPTH = 32;

/** The agent of batches that hold what could be read of damaged ones (docs/format.md §6). */
export const SALVAGE = 'salvage';
