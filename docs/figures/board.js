// A canvas that is sharp on every screen, and coordinate systems to draw in.

import { color } from "./scheme.js";

/** A canvas as wide as its place. `draw(board)` is called when size, colors or content have changed. */
export class Board {
  constructor(parent, { label, ratio = 1, draw }) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.canvas.style.aspectRatio = String(ratio);
    this.context = this.canvas.getContext("2d");
    this.draw = draw;
    this.handles = [];
    const place = document.createElement("div");
    place.className = "board";
    place.append(this.canvas);
    parent.append(place);
    new ResizeObserver(() => this.refresh()).observe(this.canvas);
    this.listen();
  }

  /** Draw at the next frame; several calls before it draw once. */
  refresh() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      const { canvas, context } = this;
      this.width = canvas.clientWidth;
      this.height = canvas.clientHeight;
      if (!this.width || !this.height) return;
      const dense = window.devicePixelRatio || 1;
      canvas.width = Math.round(this.width * dense);
      canvas.height = Math.round(this.height * dense);
      context.setTransform(dense, 0, 0, dense, 0, 0);
      context.font = "12px system-ui, sans-serif";
      this.handles = [];
      this.draw(this);
    });
  }

  /** What the pointer may take hold of: `move(px, py)` in pixels. The last one given lies on top. */
  handle(px, py, move, radius = 16) {
    this.handles.push({ px, py, move, radius });
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const hit = ([px, py]) => {
      const near = (h) => Math.hypot(h.px - px, h.py - py);
      const reached = this.handles.filter((h) => near(h) <= h.radius);
      return reached.sort((a, b) => near(a) / a.radius - near(b) / b.radius)[0];
    };
    let index = -1;
    this.canvas.addEventListener("pointerdown", (event) => {
      const found = hit(at(event));
      if (!found) return;
      // Handles are made anew at each drawing: the place in the list is what lasts.
      index = this.handles.indexOf(found);
      this.canvas.setPointerCapture(event.pointerId);
      found.move(...at(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (index >= 0) this.handles[index]?.move(...at(event));
      else this.canvas.style.cursor = hit(at(event)) ? "grab" : "";
    });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => (index = -1));
    // A finger on a handle drags it; a finger elsewhere scrolls the page.
    const touched = (event) => hit(at(event.touches[0])) && event.preventDefault();
    this.canvas.addEventListener("touchstart", touched, { passive: false });
  }
}

/** Round numbers between low and high, about `wanted` of them. */
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.7);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

const tickText = (v) => String(Number(v.toPrecision(6))).replace("-", "−");

/** A coordinate system in a part of a board: box = [left, top, right, bottom] as shares of it. */
export class Axes {
  constructor(board, { x, y, box = [0, 0, 1, 1], xlabel, ylabel, title = "", equal = false }) {
    Object.assign(this, { board, x, y, context: board.context });
    const margin = { left: 40, top: title ? 24 : 10, right: 14, bottom: 36 };
    this.left = box[0] * board.width + margin.left;
    this.top = box[1] * board.height + margin.top;
    this.right = box[2] * board.width - margin.right;
    this.bottom = box[3] * board.height - margin.bottom;
    if (equal) this.makeEqual();
    this.frame(xlabel, ylabel, title);
  }

  makeEqual() {
    const scale = Math.min(
      (this.right - this.left) / (this.x[1] - this.x[0]),
      (this.bottom - this.top) / (this.y[1] - this.y[0]),
    );
    this.right = this.left + scale * (this.x[1] - this.x[0]);
    this.bottom = this.top + scale * (this.y[1] - this.y[0]);
  }

  px = (v) => this.left + ((v - this.x[0]) / (this.x[1] - this.x[0])) * (this.right - this.left);
  py = (v) => this.bottom - ((v - this.y[0]) / (this.y[1] - this.y[0])) * (this.bottom - this.top);
  /** Coordinates of a pixel, kept within the axes. */
  at(px, py) {
    const share = (v, a, b) => Math.min(1, Math.max(0, (v - a) / (b - a)));
    return [
      this.x[0] + share(px, this.left, this.right) * (this.x[1] - this.x[0]),
      this.y[0] + share(py, this.bottom, this.top) * (this.y[1] - this.y[0]),
    ];
  }

  frame(xlabel, ylabel, title) {
    const { context: c, left, top, right, bottom } = this;
    c.lineWidth = 1;
    c.strokeStyle = color("grid");
    c.fillStyle = color("muted");
    c.textAlign = "center";
    c.textBaseline = "top";
    const across = (right - left) / 55;
    const up = (bottom - top) / 45;
    for (const v of ticks(...this.x, Math.max(3, across))) {
      c.beginPath(), c.moveTo(this.px(v), top), c.lineTo(this.px(v), bottom), c.stroke();
      c.fillText(tickText(v), this.px(v), bottom + 4);
    }
    c.textAlign = "right";
    c.textBaseline = "middle";
    for (const v of ticks(...this.y, Math.max(3, up))) {
      c.beginPath(), c.moveTo(left, this.py(v)), c.lineTo(right, this.py(v)), c.stroke();
      c.fillText(tickText(v), left - 5, this.py(v));
    }
    c.strokeStyle = color("edge");
    c.strokeRect(left, top, right - left, bottom - top);
    c.fillStyle = color("ink");
    c.textAlign = "center";
    c.textBaseline = "bottom";
    if (xlabel) c.fillText(xlabel, (left + right) / 2, bottom + 33, right - left + 30);
    // The last argument squeezes a title that is too long for its place.
    if (title) c.fillText(title, (left + right) / 2, top - 5, right - left + 30);
    if (ylabel) {
      c.save();
      c.translate(left - 26, (top + bottom) / 2);
      c.rotate(-Math.PI / 2);
      c.fillText(ylabel, 0, 0, bottom - top + 30);
      c.restore();
    }
  }

  /** Run `paint` with everything outside the axes cut off. */
  clipped(paint) {
    const { context: c } = this;
    c.save();
    c.beginPath();
    c.rect(this.left, this.top, this.right - this.left, this.bottom - this.top);
    c.clip();
    paint(c);
    c.restore();
  }

  trace(points) {
    const { context: c } = this;
    c.beginPath();
    points.forEach(([x, y], k) => (k ? c.lineTo(this.px(x), this.py(y)) : c.moveTo(this.px(x), this.py(y))));
  }

  line(points, name, { width = 2, dash = [] } = {}) {
    this.clipped((c) => {
      c.strokeStyle = color(name);
      c.lineWidth = width;
      c.setLineDash(dash);
      this.trace(points);
      c.stroke();
    });
  }

  area(points, name, alpha = 0.35) {
    this.clipped((c) => {
      c.fillStyle = color(name);
      c.globalAlpha = alpha;
      this.trace(points);
      c.closePath();
      c.fill();
    });
  }

  dot([x, y], name, radius = 5) {
    this.clipped((c) => {
      c.beginPath();
      c.arc(this.px(x), this.py(y), radius, 0, 2 * Math.PI);
      c.fillStyle = color(name);
      c.fill();
      c.lineWidth = 1.5;
      c.strokeStyle = color("paper");
      c.stroke();
    });
  }

  /** A dot that can be dragged: `move(x, y)` in coordinates. */
  draggable([x, y], name, move, radius = 7) {
    this.dot([x, y], name, radius);
    this.board.handle(this.px(x), this.py(y), (px, py) => move(...this.at(px, py)));
  }
}

/** f at n + 1 points from a to b, as points of a curve. */
export function sampled(f, [a, b], n = 300) {
  return Array.from({ length: n + 1 }, (_, k) => a + ((b - a) * k) / n).map((v) => [v, f(v)]);
}

/** Lines of a square grid over x × y, each a list of points: [vertical lines, horizontal lines]. */
export function gridLines(x, y, step, fine = 60) {
  const levels = ([a, b]) => Array.from({ length: Math.round((b - a) / step) + 1 }, (_, k) => a + k * step);
  return [
    levels(x).map((v) => sampled((t) => t, y, fine).map(([t]) => [v, t])),
    levels(y).map((v) => sampled((t) => t, x, fine).map(([t]) => [t, v])),
  ];
}
