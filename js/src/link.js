/**
 * The browser's side of the flow. Handlers only store; the paint takes the newest. Four times a second the kernel is
 * told what was painted, so that it sends no faster than the screen shows, and nothing at all where nobody looks.
 *
 * A link belongs to one widget; its views are on one page. It knows nothing of notebooks: a transport is
 * `{send(message), get(name), set(name, value), onChange(name, callback) -> off}`.
 */

import { Flag, State, decode } from "./frame.js";
import { screen } from "./screen.js";

const REPORT_MS = 250;
const STALE_MS = 2000;
const OLDEST_BASE_MS = 60_000;

/** How much longer messages travel than the fastest one of the last minute; needs no common clock. */
export class Travel {
  constructor() {
    this.base = Infinity;
    this.next = Infinity;
    this.since = 0;
  }

  /** Milliseconds that a message sent at `sent` is late, at `now` by another clock. */
  late(sent, now) {
    const took = now - sent;
    if (now - this.since > OLDEST_BASE_MS) {
      this.base = this.next;
      this.next = Infinity;
      this.since = now;
    }
    this.next = Math.min(this.next, took);
    this.base = Math.min(this.base, took);
    return took - this.base;
  }
}

export class Link {
  constructor(transport, { now = () => performance.timeOrigin + performance.now(), schedule, repeat = every, look } = {}) {
    this.transport = transport;
    this.page = Math.random().toString(36).slice(2, 12);
    this.newest = new Map();
    this.state = State.WAITING;
    this.origin = "";
    this.views = new Set();
    this.heard = 0;
    this._now = now;
    this._schedule = schedule ?? ((callback) => requestAnimationFrame(callback));
    this._travel = new Travel();
    this._scheduled = false;
    this._repeat = repeat;
    this._look = look ?? (() => screen.look());
    this._endReports = null;
    this._restart();
  }

  _restart() {
    this._waits = [];
    this._late = 0;
    this._painted = 0;
    this._acknowledged = 0;
  }

  get(name) {
    return this.transport.get(name);
  }

  set(name, value) {
    this.transport.set(name, value);
  }

  onChange(name, callback) {
    return this.transport.onChange(name, callback);
  }

  ask(what, content = {}) {
    this.transport.send({ ...content, type: what });
  }

  /** A frame has come, as bytes. Nothing is painted here. */
  receive(bytes) {
    const frame = decode(bytes);
    const now = this._now();
    frame.arrived = now;
    frame.late = this._travel.late(frame.sent / 1000, now);
    this.heard = now;
    this.state = frame.state;
    if (frame.flags & Flag.FRESH) {
      this.newest.clear();
      this.origin = "";
    }
    if (frame.origin) this.origin = frame.origin;
    this.newest.set(frame.kind, frame);
    for (const view of this.views) view.take(frame);
    this.request();
  }

  /** Paint at the next frame of the screen. */
  request() {
    if (this._scheduled) return;
    this._scheduled = true;
    this._schedule(() => {
      this._scheduled = false;
      this._paint();
    });
  }

  _paint() {
    const now = this._now();
    let newest = null;
    for (const view of this.views) {
      const frame = view.paint(now);
      if (frame && (!newest || frame.sequence > newest.sequence)) newest = frame;
    }
    if (!newest) return;
    this._acknowledged = Math.max(this._acknowledged, newest.sequence);
    this._painted += 1;
    this._waits.push(now - newest.arrived);
    // The newest one's alone: a hiccup that is over is no reason to send less.
    this._late = newest.late;
  }

  /** A view begins: `{take(frame), paint(now) -> newest painted frame or null, visible()}`. */
  open(view) {
    this.views.add(view);
    for (const frame of [...this.newest.values()].sort((one, other) => one.sequence - other.sequence)) view.take(frame);
    this.transport.send({ type: "open", page: this.page });
    this._endReports ??= this._repeat(() => this._tick(), REPORT_MS);
    this.request();
  }

  /** A view ends. */
  close(view) {
    this.views.delete(view);
    if (this.views.size) return;
    this._endReports?.();
    this._endReports = null;
    this.transport.send({ type: "close", page: this.page });
  }

  /** Tell the kernel at once, as when somebody looks again. */
  report() {
    const visible = [...this.views].some((view) => view.visible());
    const waits = this._waits.sort((one, other) => one - other);
    this.transport.send({
      type: "report",
      page: this.page,
      ack: this._acknowledged,
      wait_ms: waits.length ? waits[waits.length >> 1] : 0,
      frame_ms: screen.frameMs,
      age_ms: this._late,
      painted: this._painted,
      visible,
    });
    this._restart();
  }

  _tick() {
    const visible = [...this.views].some((view) => view.visible());
    if (visible) this._look();
    // Whoever does not look says so once; then a report a second keeps the page known.
    if (visible || visible !== this._visible || (this._quiet = ((this._quiet ?? 0) + 1) % 4) === 0) this.report();
    this._visible = visible;
    if (this.stale) this.request();
  }

  /** Milliseconds without a sign of the kernel, 0 while there are signs. */
  get stale() {
    if (!this.heard || this.state === State.STOPPED) return 0;
    const silent = this._now() - this.heard;
    return silent > STALE_MS ? silent : 0;
  }
}

function every(callback, milliseconds) {
  const timer = setInterval(callback, milliseconds);
  return () => clearInterval(timer);
}
