/** From an output to its best classes. */

/**
 * Returns the best classes, [{label, probability}], the best first.
 *
 * @param scores logits, or probabilities where the model ends in a softmax
 * @param manifest tells which, and the labels
 */
export function top(scores, manifest, count = 5) {
  const { labels, options } = manifest;
  const shares = options.softmax ? [...scores] : softmax(scores);
  return shares
    .map((probability, i) => ({ label: labels[i] ?? `class ${i}`, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

function softmax(scores) {
  const largest = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}
