/** Latency by the protocol of `slide-export bench`: warm up until the time is stable, then rounds of calls. */

const ROUNDS = 20;
const CALLS = 5;
const UNTIMED = 1; // calls at the head of a round: they wake the threads
const LEAST_ROUNDS = 6; // fewer tell nothing
const BUDGET_MS = 15_000; // of the rounds: a visitor waits
const WINDOW = 4,
  WINDOWS = 3,
  DRIFT = 0.05; // stable: the medians of 3 successive windows of 4 calls lie within 5 %
const WARMUP_CALLS = 100,
  WARMUP_MS = 15_000; // where it is not stable, the measurement begins anyway, and says so

/**
 * Returns {warmupCalls, stable, rounds: [[ms, ...], ...], calls, clockMs}.
 *
 * @param call one inference; async
 * @param progress called with the rounds done and their number
 */
export async function measure(call, progress = () => {}) {
  const warm = await warmUp(call);
  const rounds = [];
  const end = performance.now() + BUDGET_MS;
  while (rounds.length < ROUNDS && (rounds.length < LEAST_ROUNDS || performance.now() < end)) {
    progress(rounds.length, ROUNDS);
    await timed(call, UNTIMED);
    rounds.push(await timed(call, CALLS));
  }
  return { ...warm, rounds, calls: CALLS, clockMs: resolution() };
}

async function warmUp(call) {
  const medians = [];
  const end = performance.now() + WARMUP_MS;
  while (medians.length * WINDOW < WARMUP_CALLS && performance.now() < end) {
    medians.push(median(await timed(call, WINDOW)));
    const last = medians.slice(-WINDOWS);
    if (last.length === WINDOWS && Math.max(...last) <= (1 + DRIFT) * Math.min(...last)) {
      return { warmupCalls: medians.length * WINDOW, stable: true };
    }
  }
  return { warmupCalls: medians.length * WINDOW, stable: false };
}

async function timed(call, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await call();
    times.push(performance.now() - began);
  }
  return times;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}

/** Returns the smallest step of the clock that was seen, in milliseconds: browsers make it coarse on purpose. */
function resolution() {
  let smallest = Infinity;
  for (let seen = 0; seen < 50; seen++) {
    const from = performance.now();
    let now = from;
    while (now === from) now = performance.now();
    smallest = Math.min(smallest, now - from);
  }
  return smallest;
}
