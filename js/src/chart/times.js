/** Times and intervals as they are written: always UTC. */

const SECOND = 1_000_000;
const UNITS = [
  [31 * 86_400 * SECOND, "M"],
  [7 * 86_400 * SECOND, "w"],
  [86_400 * SECOND, "d"],
  [3600 * SECOND, "h"],
  [60 * SECOND, "m"],
  [SECOND, "s"],
];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (number) => String(number).padStart(2, "0");

/** An interval's name by its length in microseconds (a month: its longest). */
export function intervalName(length) {
  const [unit, name] = UNITS.find(([size]) => length >= size && length % size === 0) ?? [SECOND, "s"];
  return `${length / unit}${name}`;
}

/** 14:23, or 14:23:05 where seconds count. */
export function clock(seconds, withSeconds = false) {
  const moment = new Date(seconds * 1000);
  const text = `${two(moment.getUTCHours())}:${two(moment.getUTCMinutes())}`;
  return withSeconds ? `${text}:${two(moment.getUTCSeconds())}` : text;
}

/** Fri 9 Aug 2024 14:23, as long as the interval (in microseconds) needs it. */
export function moment(seconds, interval) {
  const at = new Date(seconds * 1000);
  const month = `${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
  if (interval >= 31 * 86_400 * SECOND) return month;
  const day = `${DAYS[at.getUTCDay()]} ${at.getUTCDate()} ${month}`;
  return interval >= 86_400 * SECOND ? day : `${day} ${clock(seconds, interval < 60 * SECOND)}`;
}

/** A label of the time axis: year, month, day or time, by lightweight-charts' kinds of tick. */
export function tick(seconds, kind) {
  const at = new Date(seconds * 1000);
  if (kind === 0) return String(at.getUTCFullYear());
  if (kind === 1) return MONTHS[at.getUTCMonth()];
  if (kind === 2) return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
  return clock(seconds, kind === 4);
}
