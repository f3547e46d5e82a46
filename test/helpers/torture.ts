/** How much of a large space of inputs a test walks: a part of it, or with DSAC_TORTURE=1 all. */
export function scale<T>(usual: T, all: T): T {
  return process.env.DSAC_TORTURE === '1' ? all : usual;
}
