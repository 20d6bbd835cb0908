/** What there is to say while bars are on their way. */

/** How long the bars of another interval may stand still. */
export const PATIENCE_MS = 1000;

/**
 * The header's detail, and whether what is drawn is given up for a line in the middle.
 * @param {{drawn: string, wanted: string, symbol: string, loading: boolean, waited: number}} what
 *   `drawn`: the interval of the bars that are there, "" where there are none; `waited`: since when other ones are
 *   wanted, in milliseconds
 * @returns {{detail: string, text: string}} `text` is empty where the bars stay
 */
export function saidOf({ drawn, wanted, symbol, loading, waited }) {
  const named = !drawn || drawn === wanted ? wanted : `${drawn} → ${wanted}`;
  const isLate = drawn !== wanted && waited >= PATIENCE_MS;
  return {
    detail: loading ? `${named}, loading` : named,
    text: isLate ? `Loading ${wanted} klines of ${symbol}` : "",
  };
}
