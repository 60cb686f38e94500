/** From a detector's scores and boxes of all anchors to its detections, as the manifest's "model.config" says. */

/**
 * Returns detections, best first, {box: [left, top, right, bottom], score, label}.
 *
 * Of each level the best pairs of an anchor and a class; then, class by class, those that no better box overlaps by more
 * than the threshold.
 *
 * @param scores of every anchor and class, N x K values
 * @param boxes N x 4 values
 * @param config the manifest's "model.config"
 * @param size rows and columns of the input
 */
export function choose(scores, boxes, config, size) {
  const classes = config.num_classes;
  const found = [];
  let start = 0;
  for (const count of levels(config, size)) {
    const level = [];
    for (let at = start * classes; at < (start + count) * classes; at++) {
      if (scores[at] > config.score_threshold) level.push(at);
    }
    level.sort((a, b) => scores[b] - scores[a] || a - b);
    found.push(...level.slice(0, config.candidates));
    start += count;
  }
  found.sort((a, b) => scores[b] - scores[a]); // it keeps the order of equal ones
  const kept = [];
  for (const at of found) {
    const [anchor, label] = [Math.floor(at / classes), at % classes];
    const box = boxes.subarray(4 * anchor, 4 * anchor + 4);
    if (kept.length === config.detections) break;
    if (!(box[2] > box[0] && box[3] > box[1])) continue;
    const covered = kept.some((other) => other.label === label && overlap(other.box, box) > config.iou_threshold);
    if (!covered) kept.push({ box: [...box], score: scores[at], label });
  }
  return kept;
}

/** Returns the detections of rows [left, top, right, bottom, score, class] that a model chose itself. */
export function listed(rows) {
  const found = [];
  for (let at = 0; at < rows.length && rows[at + 4] > 0; at += 6) {
    found.push({ box: [...rows.subarray(at, at + 4)], score: rows[at + 4], label: rows[at + 5] });
  }
  return found;
}

/** Returns the anchors of each level: every stride halves the map again, rounded up. */
function levels({ anchor_scales, anchor_ratios, anchor_strides }, size) {
  let [rows, columns] = size.map((side) => Math.ceil(side / anchor_strides[0]));
  return anchor_strides.map(() => {
    const count = rows * columns * anchor_scales.length * anchor_ratios.length;
    [rows, columns] = [Math.ceil(rows / 2), Math.ceil(columns / 2)];
    return count;
  });
}

/** Returns the intersection over the union of two boxes. */
function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const inside = Math.max(0, width) * Math.max(0, height);
  return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside);
}
