// Stepping through stages by hand, or one after the other by a button. Nothing moves before it is asked to.

/**
 * A slider over stages 0 … last, buttons to step, and a button that plays to the end; `texts[k]` names stage k.
 * `labels` are the texts of the buttons {back, next, play}. Returns the slider.
 */
export function player(page, { legend, label, texts, labels, milliseconds }) {
  const last = texts.length - 1;
  let stage;
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = labels.play;
  };
  const advance = () => {
    if (stage.value >= last) return stop();
    stage.set(stage.value + 1);
    if (stage.value >= last) stop();
  };
  const halted = (then) => () => {
    stop();
    then();
  };
  const back = page.button(labels.back, halted(() => stage.place(stage.value - 1)));
  const next = page.button(labels.next, halted(() => stage.place(stage.value + 1)));
  const play = page.button(labels.play, () => {
    if (timer !== null) return stop();
    if (stage.value >= last) stage.place(0);
    play.textContent = "Pause";
    timer = setInterval(advance, milliseconds);
  });
  page.group(legend, () => {
    stage = page.slider({ label, min: 0, max: last, step: 1, value: 0, text: (k) => texts[k] });
    page.buttons(back, next, play);
  });
  return stage;
}
