/** The worker that holds a runtime: it answers one request after the other, so that nothing disturbs a measurement. */

import { answer } from '../bundle/answer.js';
import { rows } from '../bundle/batch.js';
import { check } from '../bundle/parity.js';
import { fit, tensor } from '../bundle/preprocess.js';
import { Refusal } from '../bundle/refusal.js';
import { decode } from './decode.js';
import { measure } from './measure.js';
import { start } from './runtime.js';

let bundle, runtime;

const methods = {
  async open({ bundle: given, provider, threads }) {
    bundle = given;
    runtime = await start(bundle, provider, threads);
    const { run, ...told } = runtime;
    return told;
  },

  /** The proof. Its first call is the artifact's first, so its time is told with it. */
  async check(_, progress) {
    let firstMs;
    const timed = async (feeds) => {
      const began = performance.now();
      const outputs = await runtime.run(feeds);
      firstMs ??= performance.now() - began;
      return outputs;
    };
    return { ...(await check(bundle, timed, runtime.evaluator, progress)), firstMs };
  },

  async classify({ source }) {
    const { manifest } = bundle;
    const { picture, transparent } = await decode(source);
    const seen = fit(picture, manifest.preprocessing);
    const feeds = { [manifest.inputs[0].name]: batched(tensor(seen, manifest.preprocessing)) };
    const began = performance.now();
    const outputs = await runtime.run(feeds);
    const ms = performance.now() - began;
    return { ...answer(outputs, seen, manifest), transparent, ms };
  },

  measure(_, progress) {
    const feeds = Object.entries(bundle.golden.feeds).map(([name, value]) => [name, batched(rows(value, [0]))]);
    return measure(() => runtime.run(Object.fromEntries(feeds)), progress);
  },
};

/** Returns one image repeated to the batch that the artifact is made for. */
function batched(image) {
  return rows(
    image,
    Array.from({ length: bundle.manifest.options.batch ?? 1 }, () => 0),
  );
}

let last = Promise.resolve();

self.onmessage = ({ data: { id, method, request } }) => {
  const progress = (done, all) => self.postMessage({ id, progress: { done, all } });
  last = last.then(async () => {
    try {
      self.postMessage({ id, answer: await methods[method](request, progress) });
    } catch (error) {
      self.postMessage({ id, error: { message: error.message, refused: error instanceof Refusal } });
    }
  });
};
