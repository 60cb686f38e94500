/** What a model answers for one picture: words with a share each, and the pixels with the answer drawn in them. */

import { choose, listed } from './boxes.js';
import { colours, framed, maskOf, overlaid } from './colours.js';
import { Refusal } from './refusal.js';
import { top } from './top.js';

const SHOWN = 5; // words
const LEAST = 0.3; // score from which a box is drawn

/**
 * Returns {classes: [{label, probability}], seen}.
 *
 * @param outputs of the artifact by name, the picture's first
 * @param seen the pixels that the model was given, {data, width, height} of 8-bit RGB
 * @param manifest of the bundle
 */
export function answer(outputs, seen, manifest) {
  if (manifest.task === 'segment') return segmented(outputs, seen, manifest);
  if (manifest.task === 'detect') return detected(outputs, seen, manifest);
  const { data, dims } = outputs[manifest.outputs[0].name];
  return { classes: top(data.subarray(0, dims[1]), manifest), seen };
}

/** Returns the classes that cover most of the picture, and the picture under their colours. */
function segmented(outputs, seen, manifest) {
  const mask = maskOf(outputs);
  const counts = new Map();
  for (const number of mask.data) counts.set(number, (counts.get(number) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  const classes = most.map(([number, count]) => ({
    label: named(manifest, number),
    probability: count / mask.data.length,
  }));
  return { classes, seen: overlaid(seen, mask, colours(manifest.model.config.palette)) };
}

/** Returns the surest detections, and the picture with frames around all that are sure enough. */
function detected(outputs, seen, manifest) {
  const { config, image_size } = manifest.model;
  const { scores, boxes, detections } = outputs;
  if (!scores) throw new Refusal('expected a detector’s scores and boxes, this bundle has raw outputs: export boxes');
  const first = ({ data, dims }) => data.subarray(0, data.length / dims[0]);
  const all = detections ? listed(first(detections)) : choose(first(scores), first(boxes), config, image_size);
  const sure = all.filter(({ score }) => score > LEAST);
  const classes = sure
    .slice(0, SHOWN)
    .map(({ label, score }) => ({ label: named(manifest, label), probability: score }));
  const none = [{ label: `nothing with a score of ${100 * LEAST}%`, probability: 0 }];
  const own = config.palette ?? [];
  const palette = own.length ? colours(own) : colours().subarray(3); // class 0 is an object's, and colour 0 black
  return { classes: classes.length ? classes : none, seen: framed(seen, sure, palette) };
}

function named({ labels }, number) {
  return labels[number] ?? `class ${number}`;
}
