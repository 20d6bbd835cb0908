/** Numbers as they are written in every widget: fixed decimals, thousands apart by a thin space. */

export const THIN = "\u2009";

const formatters = new Map();

/**
 * Writes numbers with so many decimals; what is no number is a dash.
 * @param {number} decimals
 * @returns {(value: number) => string}
 */
export function formatter(decimals) {
  let format = formatters.get(decimals);
  if (!format) {
    const intl = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    format = (value) => (Number.isFinite(value) ? intl.format(value).replaceAll(",", THIN) : "–");
    formatters.set(decimals, format);
  }
  return format;
}

/**
 * A price's text in two: what it has in common with the one before it, and what is different.
 * @param {string} text
 * @param {string} former
 * @returns {[string, string]}
 */
export function split(text, former) {
  if (text.length !== former.length) return ["", text];
  let same = 0;
  while (same < text.length && text[same] === former[same]) same += 1;
  return [text.slice(0, same), text.slice(same)];
}

/** A change such as 0.0123 as `+1.23 %`, with a real minus. */
export function percent(fraction, decimals = 2) {
  if (!Number.isFinite(fraction)) return "–";
  const text = Math.abs(fraction * 100).toFixed(decimals);
  const sign = fraction > 0 ? "+" : fraction < 0 ? "\u2212" : "±";
  return `${sign}${text}${THIN}%`;
}

/** ▲ up, ▼ down, ■ neither: a direction that needs no colour. */
export function arrow(value) {
  return value > 0 ? "▲" : value < 0 ? "▼" : "■";
}

/** A large number in four or five characters: 1.24k, 3.5M. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= unit) return `${Number((value / unit).toPrecision(3))}${name}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** Seconds as people say them: 12 s, 3 min, 2 h. */
export function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 120) return `${seconds}${THIN}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes}${THIN}min` : `${Math.floor(minutes / 60)}${THIN}h`;
}
