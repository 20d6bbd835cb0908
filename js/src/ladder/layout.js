/** Where things are: which columns fit into a cell, how high rows are, and where a level is. */

export const PAD = 10;
export const TITLES = 22;
export const SPREAD = 38;

const ROW_LOWEST = 13;
const ROW_HIGHEST = 24;
const GAP = 14;
const MARK = 16;
const BARS_NARROWEST = 36;
const AREA_NARROWEST = 44;

/**
 * Columns from left to right: the trades' marks, bars, size, price, then total, value, distance and depth as they fit.
 * A narrow cell loses first the distance, then the value, the trades' sizes, the depth's own place, the totals, the bars at last.
 * @param {number} width
 * @param {{size: number, price: number, total: number, value: number, bps: number, trade: number}} text widths
 */
export function columnsFor(width, text) {
  let left = width - 2 * PAD - MARK - text.size - text.price - 2 * GAP;
  const take = (want, from = 0) => {
    if (width < from || want > left) return 0;
    left -= want;
    return want;
  };
  const leastBars = take(BARS_NARROWEST);
  const total = take(text.total + GAP);
  const leastArea = total && take(AREA_NARROWEST);
  const trade = take(text.trade, 480);
  const value = leastArea && take(text.value + GAP, 600);
  const bps = value && take(text.bps + GAP, 700);
  const share = leastArea ? left / 2 : left;
  const barsStart = PAD + MARK + trade;
  const barsEnd = barsStart + leastBars + share;
  const sizeEnd = barsEnd + text.size + GAP;
  const priceEnd = sizeEnd + text.price + GAP;
  const totalEnd = priceEnd + total;
  const valueEnd = totalEnd + value;
  const bpsEnd = valueEnd + bps;
  return {
    mark: PAD,
    tradeSize: trade > 0,
    barsStart,
    // Where there is no room for bars, they are behind the sizes.
    barsEnd: leastBars ? barsEnd : sizeEnd,
    sizeStart: barsEnd,
    sizeEnd,
    priceEnd,
    totalEnd: total ? totalEnd : null,
    valueEnd: value ? valueEnd : null,
    bpsEnd: bps ? bpsEnd : null,
    // Where there is no room for the depth, it is behind the totals.
    areaStart: leastArea ? bpsEnd + 4 : total ? priceEnd : null,
    areaBehind: !leastArea,
    areaEnd: width - PAD,
  };
}

/**
 * Rows for a height: as many levels as are wished for where they fit, and as high as they can be.
 * @param {number} height
 * @param {number} depth levels a side
 */
export function rowsFor(height, depth) {
  const titles = height > 200 ? TITLES : 0;
  const room = Math.max(height - titles - SPREAD, 2 * ROW_LOWEST);
  const row = Math.min(Math.max(Math.floor(room / (2 * depth)), ROW_LOWEST), ROW_HIGHEST);
  const rows = Math.max(Math.min(depth, Math.floor(room / (2 * row))), 1);
  const top = titles;
  const middle = Math.round(top + room / 2);
  return { row, rows, top, bottom: height, middle, titles };
}

/** The upper edge of a level's row, without the ladder's shift. */
export function yOf({ middle, row }, name, index) {
  return name === "asks" ? middle - (index + 1) * row : middle + SPREAD + index * row;
}

/** The level at a height, as `{name, index}`; null in the spread and beyond the levels. */
export function levelAt(rows, y, shift, counts) {
  const at = y - shift;
  if (y < rows.top) return null;
  const above = at < rows.middle;
  const name = above ? "asks" : "bids";
  const index = Math.floor((above ? rows.middle - at : at - rows.middle - SPREAD) / rows.row);
  return index >= 0 && index < counts[name] ? { name, index } : null;
}
