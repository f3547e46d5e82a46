/** Between routing, which fills queues, and those who work through them at the same time. */
export class Supply {
  #next = Promise.withResolvers<void>();
  #ended = false;
  #last: Promise<unknown> = Promise.resolve();

  /** Resolves when there is more than at the time of asking, or when there will be no more; undefined once it has ended. */
  more(): Promise<void> | undefined {
    return this.#ended ? undefined : this.#next.promise;
  }

  /** Does one thing at a time: who lists a queue sees all of what is handed on together, or nothing, so that a stream's batches stay in order. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Hands files on to their queues, and says that there is more. */
  readonly handOn = async (work: () => Promise<void>): Promise<void> => {
    await this.alone(work);
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  };

  /** Says that nothing will follow. */
  end(): void {
    this.#ended = true;
    this.#next.resolve();
  }
}
