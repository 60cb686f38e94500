/** How numbers are said. */

const SUPERSCRIPT = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };

/** Returns "1.23×10⁻⁶", or "0.047" where that is as short. */
export function small(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0 || (value >= 0.01 && value < 1000)) return Number(value.toPrecision(3)).toString();
  const [digits, power] = value.toExponential(2).split('e');
  const raised = Array.from(String(Number(power)), (character) => SUPERSCRIPT[character]).join('');
  return `${digits}×10${raised}`;
}

/** Returns milliseconds to three significant digits. */
export function milliseconds(value) {
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** Returns "1 call", "2 calls". */
export function count(number, noun) {
  return `${number} ${number === 1 ? noun : `${noun}s`}`;
}
