// title: A square, its image, and the determinant
// instruction: Move the shaded square over the plane and let it shrink. The area of its image, per area of the square, approaches |det J|.

import { Axes, gridLines } from "./board.js";
import { Page, fixed, tiny } from "./figure.js";
import { bend, bendJacobian, determinant, polygonArea, squareBorder } from "./math/bend.js";

const WINDOW = [-2.5, 2.5];
const IMAGE_X = [-3, 3];
const IMAGE_Y = [-3.5, 3.5];

const page = new Page(update);
let u1, u2, halvings;
const side = () => 1.5 / 2 ** halvings.value;
page.group("The square", () => {
  u1 = page.slider({ label: "center u₁", min: -2, max: 2, step: 0.05, value: 1.5 });
  u2 = page.slider({ label: "center u₂", min: -2, max: 2, step: 0.05, value: -1 });
  halvings = page.slider({
    label: "side ε",
    min: 0,
    max: 7,
    step: 0.5,
    value: 0,
    text: (v) => fixed(1.5 / 2 ** v, 4),
  });
});

const show = {
  cell: page.number("cell_area", "area of the square, ε²"),
  image: page.number("image_area", "area of its image"),
  ratio: page.number("ratio", "area of the image / ε²"),
  det: page.number("det", "|det J| at the center"),
  off: page.number("difference", "difference"),
  J: page.number("jacobian", "J, row by row"),
};

let now;
function update() {
  const center = [u1.value, u2.value];
  const border = squareBorder(center, side(), 400);
  const image = border.map(bend);
  const J = bendJacobian(center);
  const ratio = polygonArea(image) / side() ** 2;
  const det = Math.abs(determinant(J));
  now = { center, border, image, J };
  show.cell(tidy(side() ** 2));
  show.image(tidy(polygonArea(image)));
  show.ratio(fixed(ratio, 5));
  show.det(fixed(det, 5));
  show.off(tiny(ratio - det));
  show.J(J.map((row) => row.map((v) => fixed(v)).join(", ")).join("; "));
  page.say(
    `Side ${fixed(side(), 3)}: area of the image divided by area of the square is ${fixed(ratio, 4)}, ` +
      `determinant ${fixed(det, 4)}.`,
  );
}
const tidy = (v) => (v < 0.01 ? tiny(v) : fixed(v, 4));

function grid(axes, move) {
  gridLines(WINDOW, WINDOW, 0.5).forEach((lines, k) => {
    for (const line of lines) axes.line(line.map(move), k ? "vermilion" : "blue", { width: 1 });
  });
}

page.board({
  label: "The u-plane with a square grid and the shaded square.",
  draw: (board) => {
    const axes = new Axes(board, { x: WINDOW, y: WINDOW, xlabel: "u₁", ylabel: "u₂", title: "square grid", equal: true });
    grid(axes, (p) => p);
    axes.area(now.border, "green", 0.6);
    axes.draggable(now.center, "green", (x, y) => {
      u1.place(x);
      u2.set(y);
    });
  },
});
page.board({
  label: "The x-plane with the image of the grid and of the square.",
  draw: (board) => {
    const axes = new Axes(board, { x: IMAGE_X, y: IMAGE_Y, xlabel: "x₁", ylabel: "x₂", title: "image under T", equal: true });
    grid(axes, bend);
    axes.area(now.image, "green", 0.6);
    axes.dot(bend(now.center), "green", 4);
  },
});
page.board({
  label: "The image of the square, magnified, and the parallelogram that the Jacobian makes of the square, dashed.",
  draw: (board) => {
    const axes = new Axes(board, {
      x: [-1.5, 1.5], y: [-1.5, 1.5], xlabel: "(x₁ − T₁(u)) / ε", ylabel: "(x₂ − T₂(u)) / ε", title: "image and J·square, magnified", equal: true,
    });
    const middle = bend(now.center);
    axes.area(now.image.map((p) => p.map((v, i) => (v - middle[i]) / side())), "green", 0.5);
    const corners = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]];
    axes.line(corners.map(([a, b]) => now.J.map((row) => row[0] * a + row[1] * b)), "ink", { dash: [6, 4] });
  },
});

page.start();
