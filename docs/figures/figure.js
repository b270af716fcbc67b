// What all figures share: sliders, choices, buttons, live numbers, and a status line for screen readers.

import { Board } from "./board.js";
import { followScheme } from "./scheme.js";

/** What the notebook has put in, or null. */
export const data = JSON.parse(document.getElementById("data").textContent);

/** v with a fixed number of decimals and a true minus sign; never −0. */
export function fixed(v, decimals = 2) {
  const text = v.toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** v in scientific notation where it is small: 2.1e−16. */
export const tiny = (v) => (v === 0 ? "0" : v.toExponential(1).replace(/-/g, "−"));

/** Set sliders that hold each other back: after as many rounds as sliders each is where it should be. */
export function placeAll(sliders, values) {
  for (let round = 0; round < sliders.length; round++) sliders.forEach((slider, k) => slider.place(values[k]));
}

let names = 0;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** The page of one figure. After each change by hand `update()` of the figure is called, and all boards redrawn. */
export class Page {
  constructor(update) {
    this.update = update;
    this.boards = [];
    this.controls = document.getElementById("controls");
    this.numbersList = document.getElementById("numbers");
    this.status = document.getElementById("status");
  }

  /** Call once, when everything is in place. */
  start() {
    followScheme(() => this.refresh());
    new ResizeObserver(() => this.fit()).observe(document.querySelector("main"));
    this.changed();
  }

  changed() {
    this.update();
    this.refresh();
  }

  refresh() {
    for (const board of this.boards) board.refresh();
  }

  /** Make the frame around the figure as high as the figure. */
  fit() {
    try {
      const height = Math.ceil(document.querySelector("main").getBoundingClientRect().height);
      if (window.frameElement) window.frameElement.style.height = `${height + 4}px`;
    } catch {
      // Another origin: the height given by the notebook stays.
    }
  }

  board(options) {
    const made = new Board(document.getElementById("boards"), options);
    this.boards.push(made);
    return made;
  }

  /** A framed group of controls; what is made inside `fill` goes into it. */
  group(legend, fill) {
    const outer = this.controls;
    this.controls = element("fieldset", {}, element("legend", { textContent: legend }));
    outer.append(this.controls);
    fill();
    this.controls = outer;
  }

  /** A labelled slider. `text(v)` is what is shown beside it and read out; `set` moves it as a hand would. */
  slider({ label, min, max, step, value, text = (v) => fixed(v), limit = (v) => v }) {
    const id = `control-${++names}`;
    const input = element("input", { id, type: "range", min, max, step, value });
    const shown = element("span", { className: "value", ariaHidden: "true" });
    const show = () => {
      shown.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    const place = (v) => {
      input.value = limit(v);
      show();
    };
    input.addEventListener("input", () => {
      place(Number(input.value));
      this.changed();
    });
    const name = element("label", { htmlFor: id, textContent: label });
    this.controls.append(element("div", { className: "slider" }, name, shown, input));
    show();
    return {
      get value() {
        return Number(input.value);
      },
      place,
      set: (v) => {
        place(v);
        this.changed();
      },
    };
  }

  /** Radio buttons: options are [value, text]. */
  choice(legend, options, start) {
    const name = `control-${++names}`;
    let current = start;
    const box = element("fieldset", { className: "choice" }, element("legend", { textContent: legend }));
    for (const [value, text] of options) {
      const input = element("input", { type: "radio", name, value, checked: value === start });
      input.addEventListener("change", () => {
        current = value;
        this.changed();
      });
      box.append(element("label", {}, input, text));
    }
    this.controls.append(box);
    return {
      get value() {
        return current;
      },
    };
  }

  buttons(...made) {
    this.controls.append(element("div", { className: "buttons" }, ...made));
  }

  button(text, pressed) {
    const made = element("button", { type: "button", textContent: text });
    made.addEventListener("click", () => {
      pressed();
      this.changed();
    });
    return made;
  }

  /** A button that stays down until it is pressed again. */
  toggle(text) {
    let on = false;
    const made = this.button(text, () => {
      on = !on;
      made.setAttribute("aria-pressed", String(on));
    });
    made.setAttribute("aria-pressed", "false");
    return {
      button: made,
      get on() {
        return on;
      },
    };
  }

  /** A number that is shown with its name; returns the function that sets it. `key` finds it in tests. */
  number(key, label) {
    const value = element("dd");
    value.dataset.number = key;
    this.numbersList.append(element("div", {}, element("dt", { textContent: label }), value));
    return (text) => {
      value.textContent = text;
    };
  }

  /** Say a sentence to screen readers once the numbers have come to rest. */
  say(sentence) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.status.textContent = sentence;
    }, 500);
  }
}
