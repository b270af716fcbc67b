// title: A masked coupling layer
// instruction: One variable is kept, and says how far the other is stretched, by eˢ, and shifted, by t. Choose the functions s and t of the kept variable.

import { Axes, gridLines } from "./board.js";
import { Page, fixed, tiny } from "./figure.js";
import { affineCoupling } from "./math/affine_coupling.js";
import { polygonArea, squareBorder } from "./math/bend.js";

const WINDOW = [-3.5, 3.5];
const GRID = [-2, 2];
const SIDE = 0.02; // of the square whose area is measured

const page = new Page(update);
let parameters, mask, point, undo;
page.group("Functions of the kept variable k", () => {
  parameters = {
    a0: page.slider({ label: "s: constant part", min: -1, max: 1, step: 0.05, value: 0 }),
    a1: page.slider({ label: "s: slope in k", min: -0.8, max: 0.8, step: 0.05, value: 0.3 }),
    b1: page.slider({ label: "t: slope in k", min: -1, max: 1, step: 0.05, value: 0.5 }),
    b2: page.slider({ label: "t: wave, sin(3k) times", min: -1, max: 1, step: 0.05, value: 0 }),
  };
});
page.group("The layer and a point", () => {
  mask = page.choice("Mask b", [["0", "(1, 0): keep u₁"], ["1", "(0, 1): keep u₂"]], "0");
  point = [
    page.slider({ label: "point u₁", min: -2, max: 2, step: 0.05, value: 1 }),
    page.slider({ label: "point u₂", min: -2, max: 2, step: 0.05, value: -0.5 }),
  ];
  undo = page.toggle("Undo: apply the inverse to x");
  page.buttons(undo.button);
});

const show = {
  s: page.number("s", "s at the point"),
  t: page.number("t", "t at the point"),
  x: page.number("x", "x = T(u)"),
  logDet: page.number("log_det", "log|det ∂x/∂u| = s (nats)"),
  measured: page.number("measured_log_det", "log of a small square's growth (nats)"),
  back: page.number("inverse_log_det", "log|det ∂u/∂x| of the inverse (nats)"),
  error: page.number("round_trip", "largest error of the round trip"),
};

let now;
function update() {
  const values = Object.fromEntries(Object.entries(parameters).map(([name, slider]) => [name, slider.value]));
  const kept = Number(mask.value);
  const layer = affineCoupling(values, kept);
  const u = point.map((slider) => slider.value);
  const [x, logDet] = layer.forward(u);
  const square = squareBorder(u, SIDE, 50).map((p) => layer.forward(p)[0]);
  const lines = gridLines(GRID, GRID, 0.5).map((group) => group.map((line) => line.map((p) => layer.forward(p)[0])));
  const error = Math.max(
    ...gridLines(GRID, GRID, 0.5).flat(2).map((p) => {
      const again = layer.inverse(layer.forward(p)[0])[0];
      return Math.max(Math.abs(again[0] - p[0]), Math.abs(again[1] - p[1]));
    }),
  );
  now = { layer, u, x, lines };
  third.canvas.parentElement.hidden = !undo.on;
  show.s(fixed(layer.scale(u[kept]), 3));
  show.t(fixed(layer.shift(u[kept]), 3));
  show.x(`(${fixed(x[0])}, ${fixed(x[1])})`);
  show.logDet(fixed(logDet, 3));
  show.measured(fixed(Math.log(polygonArea(square) / SIDE ** 2), 3));
  show.back(fixed(layer.inverse(x)[1], 3));
  show.error(tiny(error));
  page.say(
    `u${kept + 1} is kept. s is ${fixed(layer.scale(u[kept]))}, t is ${fixed(layer.shift(u[kept]))}; x is ${fixed(x[0])}, ` +
      `${fixed(x[1])}; log-determinant ${fixed(logDet)}.${undo.on ? " The inverse brings the square grid back." : ""}`,
  );
}

function drawGrid(axes, groups, marked) {
  groups.forEach((lines, k) => {
    for (const line of lines) axes.line(line, k ? "vermilion" : "blue", { width: 1.2 });
  });
  axes.dot(marked, "green", 7);
}

page.board({
  label: "Base: a square grid in the u-plane and the point.",
  draw: (board) => {
    const axes = new Axes(board, { x: WINDOW, y: WINDOW, xlabel: "u₁", ylabel: "u₂", title: "base u", equal: true });
    drawGrid(axes, gridLines(GRID, GRID, 0.5), now.u);
    axes.draggable(now.u, "green", (a, b) => {
      point[0].place(a);
      point[1].set(b);
    });
  },
});
page.board({
  label: "Data: the image of the grid and of the point under the layer. Vertical or horizontal lines stay where the kept variable holds them.",
  draw: (board) => {
    const axes = new Axes(board, { x: WINDOW, y: WINDOW, xlabel: "x₁", ylabel: "x₂", title: "data x = T(u)", equal: true });
    drawGrid(axes, now.lines, now.x);
  },
});
const third = page.board({
  label: "The inverse applied to the image: the square grid again.",
  draw: (board) => {
    const axes = new Axes(board, { x: WINDOW, y: WINDOW, xlabel: "u₁", ylabel: "u₂", title: "T⁻¹(x), computed from x", equal: true });
    const back = (p) => now.layer.inverse(p)[0];
    drawGrid(axes, now.lines.map((group) => group.map((line) => line.map(back))), back(now.x));
  },
});

page.start();
