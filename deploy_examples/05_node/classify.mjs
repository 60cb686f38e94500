/** node classify.mjs BUNDLE IMAGE: checks the bundle here, then prints the image's best five classes. */

import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import ort from 'onnxruntime-node';
import sharp from 'sharp';
import { rows } from '../04_web/src/bundle/batch.js';
import { open } from '../04_web/src/bundle/bundle.js';
import { check, number } from '../04_web/src/bundle/parity.js';
import { fit, tensor } from '../04_web/src/bundle/preprocess.js';
import { Refusal } from '../04_web/src/bundle/refusal.js';
import { top } from '../04_web/src/bundle/top.js';

process.env.ORT_DISABLE_TELEMETRY = '1'; // before the first session

/** Returns a function from inputs to outputs, both {name: {type, data, dims}}. */
async function runner({ artifact, manifest }) {
  const { optimization: graphOptimizationLevel } = manifest.artifact.settings;
  const session = await ort.InferenceSession.create(new Uint8Array(artifact), { graphOptimizationLevel }).catch(
    (error) => {
      throw new Refusal(`expected a model that ONNX Runtime can load, it says: ${error.message}`);
    },
  );
  const given = ([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)];
  return (feeds) => session.run(Object.fromEntries(Object.entries(feeds).map(given)));
}

/** Returns the upright 8-bit RGB picture in a file, its colours as the file has them. */
async function picture(path) {
  try {
    const upright = sharp(path, { ignoreIcc: true }).rotate().removeAlpha().toColourspace('srgb');
    const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true });
    return { data: new Uint8Array(data), width: info.width, height: info.height };
  } catch (error) {
    throw new Refusal(`expected an image, ${path} cannot be decoded (${error.message}): choose another`);
  }
}

async function main([folder, image, ...rest]) {
  if (!image || rest.length) throw new Refusal('expected a bundle and an image: node classify.mjs BUNDLE IMAGE');
  const read = (path) =>
    readFile(join(folder, path)).then(
      (bytes) => new Uint8Array(bytes).buffer,
      () => null,
    );
  const bundle = await open(read, folder);
  const { manifest } = bundle;
  if (manifest.options.features) throw new Refusal(`expected a bundle with classes, ${folder} returns feature maps`);
  const seen = fit(await picture(image), manifest.preprocessing);
  const run = await runner(bundle);

  const proof = await check(bundle, run, `ONNX Runtime ${ort.env.versions.node} in Node.js`);
  for (const { name, max_abs, floor_max, limit_max } of proof.outputs) {
    const numbers = `largest error ${number(max_abs)}, noise floor ${number(floor_max)}, limit ${number(limit_max)}`;
    console.log(`${proof.passed ? '✓ proved equal' : '✗ NOT equal'}, ${name}: ${numbers} (${proof.evaluator})`);
  }
  proof.failures.forEach((failure) => console.error(failure));
  if (!proof.passed) return 1;

  const copies = Array.from({ length: manifest.options.batch ?? 1 }, () => 0);
  const outputs = await run({ [manifest.inputs[0].name]: rows(tensor(seen, manifest.preprocessing), copies) });
  const { data, dims } = outputs[manifest.outputs[0].name];
  console.log(basename(image));
  for (const { label, probability } of top(data.subarray(0, dims[1]), manifest)) {
    console.log(`${(100 * probability).toFixed(1).padStart(7)}%  ${label}`);
  }
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
