/** The page's side of the worker. */

import { Refusal } from '../bundle/refusal.js';

export class Engine {
  #worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  #waiting = new Map();
  #count = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = ({ message }) =>
      this.#fail(new Refusal(`expected the worker to run, it says: ${message ?? 'it could not be loaded'}`));
  }

  /** Returns the answer of one of the worker's methods. */
  ask(method, request = {}, progress = () => {}, transfer = []) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, progress });
      this.#worker.postMessage({ id, method, request }, transfer);
    });
  }

  /** Ends the worker with its threads; what it was asked is never answered. */
  stop() {
    this.#worker.terminate();
    this.#waiting.clear();
  }

  #hear({ id, progress, answer, error }) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (progress) return waiting.progress(progress.done, progress.all);
    this.#waiting.delete(id);
    if (error) waiting.reject(error.refused ? new Refusal(error.message) : new Error(error.message));
    else waiting.resolve(answer);
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
