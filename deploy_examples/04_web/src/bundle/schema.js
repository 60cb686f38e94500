/** What differs between the schemas of a manifest. */

export const SCHEMAS = [1, 2];

/** The precision's name, "fp16" for instance: in schema 1 it stood alone. */
export function precisionOf({ precision }) {
  return precision.name ?? precision;
}

/** The form of slide attention, "lowering" in schema 1. */
export function formOf({ options }) {
  return options.form ?? options.lowering;
}
