/** onnxruntime-web with one artifact in it, on WebAssembly or WebGPU. */

import webgpuModule from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url';
import webgpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import wasmModule from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import wasmBinary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';
import { Refusal } from '../bundle/refusal.js';
import { precisionOf } from '../bundle/schema.js';

// A visitor loads one of the two: the one with WebGPU is twice as large.
const RUNTIMES = {
  wasm: { load: () => import('onnxruntime-web/wasm'), paths: { mjs: wasmModule, wasm: wasmBinary } },
  webgpu: { load: () => import('onnxruntime-web/webgpu'), paths: { mjs: webgpuModule, wasm: webgpuBinary } },
};

/**
 * Returns {run, evaluator, version, settings, importMs, loadMs}: `run` takes and gives {name: {type, data, dims}}.
 *
 * @param bundle {manifest, artifact}
 * @param provider "wasm" or "webgpu"
 * @param threads of WebAssembly
 * @throws Refusal the browser cannot run it
 */
export async function start({ manifest, artifact }, provider, threads) {
  if (provider === 'webgpu') await refuseWithoutGpu(precisionOf(manifest));
  const { load, paths } = RUNTIMES[provider];
  const began = performance.now();
  const ort = await load();
  const imported = performance.now();
  // The paths are relative to the page; the runtime would take them relative to itself.
  const absolute = (path) => new URL(path, self.location.origin).href;
  ort.env.wasm.wasmPaths = { mjs: absolute(paths.mjs), wasm: absolute(paths.wasm) };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error'; // failures come back as exceptions too
  const session = await opened(ort, artifact, {
    executionProviders: [provider],
    ...options(manifest.artifact.settings),
  });
  const loaded = performance.now();
  const version = ort.env.versions.web;
  const how = provider === 'webgpu' ? 'WebGPU' : `WebAssembly, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return {
    run: (feeds) => run(ort, session, feeds),
    evaluator: `ONNX Runtime Web ${version} on ${how}`,
    version,
    settings: { ...manifest.artifact.settings, provider, threads },
    importMs: imported - began,
    loadMs: loaded - imported,
  };
}

async function refuseWithoutGpu(precision) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Refusal('expected WebGPU, this browser has none: choose WebAssembly');
  if (precision === 'fp16' && !adapter.features.has('shader-f16')) {
    throw new Refusal(
      'expected WebGPU with 16-bit floats (shader-f16) for an fp16 bundle, this device has none: ' +
        'choose WebAssembly, which computes it in float32',
    );
  }
}

/** Returns a session's options for the manifest's "settings", which name configuration entries "a.b.c". */
function options({ optimization = 'all', config = {} }) {
  const extra = {};
  for (const [name, value] of Object.entries(config)) {
    const path = name.split('.');
    const last = path.pop();
    path.reduce((group, part) => (group[part] ??= {}), extra)[last] = value;
  }
  return { graphOptimizationLevel: optimization, extra };
}

async function opened(ort, artifact, wanted) {
  try {
    return await ort.InferenceSession.create(new Uint8Array(artifact), wanted);
  } catch (error) {
    throw new Refusal(`expected a model that onnxruntime-web can run here, it says: ${error.message}`);
  }
}

async function run(ort, session, feeds) {
  const tensors = Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]);
  const outputs = await session.run(Object.fromEntries(tensors));
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { type, data, dims }]) => [name, { type, data, dims }]),
  );
}
