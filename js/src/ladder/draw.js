/** Draws the ladder: asks above, the spread, bids below; sizes grow to the left of the price, their sum to the right. */

import { split } from "../numbers.js";
import { faint } from "../theme.js";
import { atLeast, between, imbalance } from "./book.js";
import { PAD, SPREAD, yOf } from "./layout.js";

const IN = 8; // from a column's edge to its text
const LAST_GOOD = 0.5;
const UNVERIFIED = 0.8; // the page dims what is stale, too
const BAR = 0.35;
const FLASH = 0.4;
const SIDES = ["asks", "bids"];

/**
 * Draw a picture; what is written goes into `drawn`, as text.
 * @param {import("./brush.js").Brush} brush
 * @param {object} scene `{book, rows, columns, shift, theme, write, text, scale, traded, flash, pointed, reference}`
 * @returns {object} drawn
 */
export function draw(brush, scene) {
  const { book, rows, shift } = scene;
  const drawn = { id: book.id, bids: [], asks: [], verified: book.verified, group: book.group };
  const { context } = brush;
  brush.begin();
  titles(brush, scene);
  context.save();
  context.beginPath();
  context.rect(0, rows.top, brush.width, brush.height - rows.top);
  context.clip();
  context.globalAlpha = book.verified ? 1 : book.loading ? LAST_GOOD : UNVERIFIED;
  context.translate(0, shift);
  if (scene.pointed) band(brush, scene);
  for (const name of SIDES) {
    area(brush, scene, name);
    for (const i of visible(scene, name)) drawn[name].push(level(brush, scene, name, i));
    if (!book[name].prices.length) none(brush, scene, name);
  }
  Object.assign(drawn, spread(brush, scene));
  context.restore();
  return drawn;
}

function visible({ book, rows, shift }, name) {
  const shown = [];
  const count = shift ? book[name].prices.length : Math.min(book[name].prices.length, rows.rows);
  for (let i = 0; i < count; i += 1) {
    const y = yOf(rows, name, i) + shift;
    if (y > rows.top - rows.row && y < rows.bottom) shown.push(i);
  }
  return shown;
}

function titles(brush, { rows, columns, theme, write, text }) {
  if (!rows.titles) return;
  brush.font(text.small);
  const y = 15;
  const unit = (word, of) => (of ? `${word} (${of})` : word);
  brush.right(unit("Size", write.base), columns.sizeEnd - IN, y, theme.dim);
  brush.right("Price", columns.priceEnd - IN, y, theme.dim);
  if (columns.totalEnd) brush.right("Total", columns.totalEnd - IN, y, theme.dim);
  if (columns.valueEnd) brush.right(write.quote || "Value", columns.valueEnd - IN, y, theme.dim);
  if (columns.bpsEnd) brush.right("bps", columns.bpsEnd - IN, y, theme.dim);
  if (columns.tradeSize) brush.left("Trades", columns.mark, y, theme.dim);
  brush.box(0, rows.titles - 1, brush.width, 1, theme.line);
}

/** Everything up to the level that somebody points at. */
function band(brush, { rows, theme, pointed }) {
  const y = yOf(rows, pointed.name, pointed.index);
  const inner = pointed.name === "asks" ? rows.middle : rows.middle + SPREAD;
  const [from, to] = pointed.name === "asks" ? [y, inner] : [inner, y + rows.row];
  brush.box(0, from, brush.width, to - from, faint(theme.text, 0.05));
  brush.box(0, y, brush.width, rows.row, faint(theme.text, 0.09));
}

function area(brush, scene, name) {
  const { book, rows, columns, theme, scale } = scene;
  const { totals } = book[name];
  const shown = visible(scene, name);
  if (columns.areaStart === null || !shown.length) return;
  const { context } = brush;
  const colour = name === "asks" ? theme.down : theme.up;
  const reach = (columns.areaEnd - columns.areaStart) / scale.total;
  const outer = name === "asks" ? 0 : rows.row;
  const edge = () => {
    for (const i of shown) {
      const x = columns.areaStart + totals[i] * reach;
      const y = yOf(rows, name, i);
      context.lineTo(x, y + rows.row - outer);
      context.lineTo(x, y + outer);
    }
  };
  const first = yOf(rows, name, shown[0]) + rows.row - outer;
  const last = yOf(rows, name, shown.at(-1)) + outer;
  context.beginPath();
  context.moveTo(columns.areaStart, first);
  edge();
  context.lineTo(columns.areaStart, last);
  context.closePath();
  context.fillStyle = faint(colour, 0.16);
  context.fill();
  if (columns.areaBehind) return;
  context.beginPath();
  edge();
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.stroke();
}

function level(brush, scene, name, i) {
  const { book, rows, columns, theme, write, text, scale, flash } = scene;
  const { prices, sizes, totals } = book[name];
  const y = yOf(rows, name, i);
  const base = y + Math.round((rows.row + text.size * 0.72) / 2);
  const colour = name === "asks" ? theme.down : theme.up;
  const width = Math.max((sizes[i] / scale.size) * (columns.barsEnd - columns.barsStart), 1);
  brush.box(columns.barsEnd - width, y + 1, width, rows.row - 2, faint(colour, BAR));
  if (columns.barsEnd < columns.sizeEnd) brush.box(columns.barsEnd - width, y + 1, Math.min(2, width), rows.row - 2, colour);
  const strength = flash(name, prices[i]);
  const cell = columns.sizeEnd - columns.sizeStart;
  if (strength) brush.box(columns.sizeStart, y, cell, rows.row, faint(colour, FLASH * strength));
  const least = atLeast(book, prices[i]);
  const size = least + write.size(sizes[i]);
  const total = least + write.size(totals[i]);
  brush.font(text.size);
  brush.right(size, columns.sizeEnd - IN, base, theme.text);
  if (columns.totalEnd) brush.right(total, columns.totalEnd - IN, base, theme.dim);
  further(brush, scene, name, i, base);
  const told = price(brush, scene, name, i, base);
  mark(brush, scene, name, i, base);
  return [told, size, total];
}

function further(brush, { book, columns, theme, write }, name, i, base) {
  const { prices, values } = book[name];
  if (columns.valueEnd) brush.right(atLeast(book, prices[i]) + write.whole(values[i]), columns.valueEnd - IN, base, theme.dim);
  const middle = between(book.best)?.middle;
  if (columns.bpsEnd && middle) {
    const bps = ((prices[i] - middle) / middle) * 1e4;
    brush.right(`${bps < 0 ? "\u2212" : "+"}${Math.abs(bps).toFixed(2)}`, columns.bpsEnd - IN, base, theme.dim);
  }
}

/** A price, its first part dimmed where it is the same as in the level next to it. */
function price(brush, { book, columns, theme, write, text, reference }, name, i, base) {
  const { prices } = book[name];
  const whole = write.price(prices[i]);
  const [same, different] = split(whole, i ? write.price(prices[i - 1]) : reference(name));
  const colour = name === "asks" ? theme.downText : theme.upText;
  brush.font(text.size, i === 0);
  brush.right(different, columns.priceEnd - IN, base, colour);
  if (same) brush.right(same, columns.priceEnd - IN - brush.context.measureText(different).width, base, theme.dim);
  return whole;
}

function mark(brush, { book, columns, theme, write, text, traded }, name, i, base) {
  const trade = traded.get(`${name} ${book[name].prices[i]}`);
  if (!trade) return;
  const { context } = brush;
  const before = context.globalAlpha;
  context.globalAlpha = before * Math.max(1 - trade.rank * 0.06, 0.7);
  const colour = trade.bought ? theme.upText : theme.downText;
  brush.font(text.small, trade.rank === 0);
  const words = trade.bought ? "▲" : "▼";
  brush.left(columns.tradeSize ? `${words} ${write.size(trade.size)}` : words, columns.mark, base, colour);
  context.globalAlpha = before;
}

function none(brush, { rows, theme, text, book }, name) {
  brush.font(text.size);
  const y = name === "asks" ? rows.middle - rows.row * 1.5 : rows.middle + SPREAD + rows.row * 1.5;
  const words = book.bids.prices.length || book.asks.prices.length ? `no ${name} in the book` : "";
  brush.centre(words, brush.width / 2, y, theme.dim);
}

/** The row in the middle: spread, microprice, and how much is on either side. */
function spread(brush, scene) {
  const { book, rows, columns, theme, write, text } = scene;
  const told = { spread: "", bps: "", microprice: "", bidShare: imbalance(book) };
  const y = rows.middle;
  brush.box(0, y, brush.width, SPREAD, faint(theme.text, 0.03));
  if (!book.bids.prices.length && !book.asks.prices.length) {
    brush.font(text.size);
    brush.centre("The book is empty on both sides.", brush.width / 2, y + 23, theme.text);
    return told;
  }
  const what = between(book.best);
  if (what) {
    told.spread = write.spread(what.crossed ? -what.spread : what.spread);
    told.bps = bpsText(what.bps);
    told.microprice = write.fine(what.microprice);
    const named = `${what.crossed ? "crossed by" : "spread"} ${told.spread}`;
    brush.font(text.small, what.crossed);
    const fits = (words) => brush.context.measureText(words).width < columns.sizeEnd - PAD - IN;
    const words = [`${named} · ${told.bps}`, named].find(fits) ?? told.spread;
    brush.right(words, columns.sizeEnd - IN, y + 18, what.crossed ? theme.downText : theme.dim);
    brush.font(text.size, true);
    brush.right(told.microprice, columns.priceEnd - IN, y + 18, theme.text);
  }
  shares(brush, scene, told.bidShare, y);
  return told;
}

function bpsText(bps) {
  const decimals = Math.abs(bps) < 0.1 ? 4 : Math.abs(bps) < 10 ? 2 : 1;
  return `${bps.toFixed(decimals).replace("-", "\u2212")} bps`;
}

function shares(brush, { columns, theme, text }, bidShare, y) {
  const bids = Math.round(bidShare * 100);
  brush.font(text.small);
  const words = `${bids} % bids · ${100 - bids} % asks`;
  const room = columns.areaEnd - columns.priceEnd - IN;
  const wide = brush.context.measureText(words).width;
  if (room > wide) brush.right(words, columns.areaEnd, y + 18, theme.dim);
  else if (room > wide / 2.6) brush.right(`${bids} %`, columns.areaEnd, y + 18, theme.dim);
  if (room > wide + brush.context.measureText("microprice").width + 12) {
    brush.left("microprice", columns.priceEnd, y + 18, theme.dim);
  }
  const full = columns.areaEnd - PAD;
  const cut = Math.round(full * bidShare);
  brush.box(PAD, y + SPREAD - 11, Math.max(cut - 1, 0), 4, theme.up);
  brush.box(PAD + cut + 1, y + SPREAD - 11, Math.max(full - cut - 1, 0), 4, theme.down);
  brush.box(PAD + Math.round(full / 2), y + SPREAD - 13, 1, 8, theme.text);
}
