/** The price steps by which levels can be joined. */

const SERIES = [1, 2, 5];
const COARSEST = 0.02; // of the price: beyond that everything is one level

/** How many decimals it takes to write a step: 2 for 0.05, 0 for 10. */
export function decimalsOf(step) {
  const [digits, exponent] = String(step).split("e-");
  return (digits.split(".")[1]?.length ?? 0) + Number(exponent ?? 0);
}

/**
 * Steps from fine to coarse, 0 (each level for itself) first: multiples of the tick by 1, 2 and 5.
 * @param {number} tick 0: unknown
 * @param {number} price near the middle of the book
 */
export function steps(tick, price) {
  const found = [0];
  if (!(tick > 0) || !(price > 0)) return found;
  const decimals = decimalsOf(tick);
  for (let power = 1; ; power *= 10) {
    for (const one of SERIES) {
      const step = Number((tick * one * power).toFixed(decimals));
      if (step > price * COARSEST) return found;
      if (step > tick) found.push(step);
    }
  }
}

/** The next coarser (`by` 1) or finer (-1) step; the same where there is none. */
export function another(found, step, by) {
  if (by > 0) return found.find((other) => other > step) ?? step;
  return found.findLast((other) => other < step) ?? step;
}
