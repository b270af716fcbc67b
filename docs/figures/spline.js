// title: The knots of a rational-quadratic spline
// instruction: Four bins on [−3, 3]. Drag the three inner knots, or use the sliders, and set the slopes there. Outside, and at both ends, the slope is 1.

import { Axes, sampled } from "./board.js";
import { Page, fixed, placeAll, tiny } from "./figure.js";
import { curve } from "./math/monotone.js";
import { integral, normalDensity, pushforward } from "./math/normal.js";

const B = 3;
const GAP = 0.1; // the least width and height of a bin
const WINDOW = [-4, 4];
const START = [-1.5, 0, 1.5];

const page = new Page(update);
const knots = [];
const between = (name, k) => (v) => {
  if (knots.length < 3) return v;
  const below = k > 0 ? knots[k - 1][name].value : -B;
  const above = k < 2 ? knots[k + 1][name].value : B;
  return Math.min(above - GAP, Math.max(below + GAP, v));
};
const slopeText = (v) => fixed(10 ** v, v < 0 ? 3 : 2);
for (const [k, v] of START.entries()) {
  page.group(`Knot ${k + 1}`, () => {
    const place = { min: -B, max: B, step: 0.05, value: v };
    knots.push({
      u: page.slider({ ...place, label: `knot ${k + 1}: position u`, limit: between("u", k) }),
      x: page.slider({ ...place, label: `knot ${k + 1}: height x`, limit: between("x", k) }),
      d: page.slider({ label: `knot ${k + 1}: slope`, min: -1.5, max: 1.2, step: 0.05, value: 0, text: slopeText }),
    });
  });
}
let probe;
page.group("Look at", () => {
  probe = page.slider({ label: "point u", min: -4, max: 4, step: 0.05, value: 0.5 });
  const reset = () => {
    for (const name of ["u", "x"]) placeAll(knots.map((knot) => knot[name]), START);
    for (const knot of knots) knot.d.place(0);
  };
  page.buttons(
    page.button("Back to the identity", reset),
    page.button("Split the bump in two", () => {
      reset();
      knots[1].d.place(0.9);
    }),
  );
});

const show = {
  widths: page.number("widths", "widths w"),
  heights: page.number("heights", "heights h"),
  slopes: page.number("slopes", "slopes d at the inner knots"),
  where: page.number("bin", "bin of u, and ξ there"),
  x: page.number("x", "x = T(u)"),
  slope: page.number("slope", "dx/du"),
  least: page.number("least_slope", "smallest slope anywhere"),
  error: page.number("round_trip", "|T⁻¹(T(u)) − u|"),
  area: page.number("area", "area under the density of x"),
};

let now;
function update() {
  const us = [-B, ...knots.map((k) => k.u.value), B];
  const xs = [-B, ...knots.map((k) => k.x.value), B];
  const ds = [1, ...knots.map((k) => 10 ** k.d.value), 1];
  const spline = curve(us, xs, ds);
  const density = pushforward(spline);
  const u = probe.value;
  const gaps = (v) => v.slice(1).map((b, k) => fixed(b - v[k])).join(", ");
  const least = Math.min(...sampled(spline.slope, [-B, B], 2000).map(([, s]) => s));
  const found = spline.locate(u);
  now = { us, xs, ds, spline, density };
  show.widths(gaps(us));
  show.heights(gaps(xs));
  show.slopes(ds.slice(1, -1).map((d) => fixed(d)).join(", "));
  show.where(found ? `bin ${found.bin + 1}, ξ = ${fixed(found.xi)}` : "outside: the identity");
  show.x(fixed(spline.forward(u), 3));
  show.slope(fixed(spline.slope(u), 3));
  show.least(fixed(least, 4));
  show.error(tiny(Math.abs(spline.inverse(spline.forward(u)) - u)));
  show.area(fixed(integral(density, [-8, ...xs, 8]), 4));
  page.say(
    `At u ${fixed(u)} x is ${fixed(spline.forward(u))} and the slope ${fixed(spline.slope(u))}. ` +
      `Smallest slope anywhere ${fixed(least, 3)}.`,
  );
}

page.board({
  label: "The spline x = T(u) with its knots.",
  draw: (board) => {
    const axes = new Axes(board, { x: WINDOW, y: WINDOW, xlabel: "u", ylabel: "x", title: "x = T(u)", equal: true });
    axes.line([[-4, -4], [4, 4]], "edge", { width: 1, dash: [4, 4] });
    axes.line(sampled(now.spline.forward, WINDOW, 400), "blue");
    for (const end of [-B, B]) axes.dot([end, end], "edge", 4);
    for (const [k, knot] of knots.entries()) {
      axes.draggable([now.us[k + 1], now.xs[k + 1]], "vermilion", (u, x) => {
        knot.u.place(u);
        knot.x.set(x);
      });
    }
    axes.dot([probe.value, now.spline.forward(probe.value)], "green", 5);
  },
});
page.board({
  label: "The slope dx/du over u; never below 0.",
  draw: (board) => {
    const slope = sampled(now.spline.slope, WINDOW, 800);
    const top = Math.max(2, 1.08 * Math.max(...slope.map(([, s]) => s)));
    const axes = new Axes(board, { x: WINDOW, y: [0, top], xlabel: "u", title: "slope dx/du" });
    axes.line(slope, "blue");
    axes.dot([probe.value, now.spline.slope(probe.value)], "green", 5);
  },
});
page.board({
  label: "The density of x for standard normal u, and the standard normal density, dashed.",
  draw: (board) => {
    const density = sampled(now.density, WINDOW, 900);
    const top = Math.max(0.6, 1.08 * Math.max(...density.map(([, p]) => p)));
    const axes = new Axes(board, { x: WINDOW, y: [0, top], xlabel: "x", title: "density of x (dashed: of u)" });
    axes.line(sampled(normalDensity, WINDOW), "edge", { width: 1.5, dash: [5, 4] });
    axes.line(density, "vermilion");
    const x = now.spline.forward(probe.value);
    axes.dot([x, now.density(x)], "green", 5);
  },
});

page.start();
