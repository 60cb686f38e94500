/** Reads the safetensors format: 8 bytes of header length, a JSON header, then the tensors, little-endian. */

import { Refusal } from './refusal.js';

const TYPES = {
  F64: ['float64', Float64Array],
  F32: ['float32', Float32Array],
  U8: ['uint8', Uint8Array],
};

/**
 * Returns {tensors: {name: {type, data, dims}}, metadata} of a file.
 *
 * @param buffer ArrayBuffer of the whole file
 * @param name of the file, for the message
 */
export function parse(buffer, name) {
  try {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    const { __metadata__: metadata = {}, ...entries } = JSON.parse(
      new TextDecoder().decode(new Uint8Array(buffer, 8, length)),
    );
    const read = ([key, entry]) => [key, tensor(buffer, 8 + length, entry)];
    return { tensors: Object.fromEntries(Object.entries(entries).map(read)), metadata };
  } catch (error) {
    throw new Refusal(
      `expected a safetensors file, ${name} cannot be read (${error.message}): export the bundle again`,
    );
  }
}

function tensor(buffer, start, { dtype, shape, data_offsets: [begin, end] }) {
  const [type, Type] = TYPES[dtype] ?? [];
  if (!Type) throw new TypeError(`its type ${dtype} is none of ${Object.keys(TYPES).join(', ')}`);
  // A copy, for a typed array must begin at a multiple of its element's size.
  return { type, data: new Type(buffer.slice(start + begin, start + end)), dims: shape };
}
