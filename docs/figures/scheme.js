// Light or dark, as the page around the figure is: a dark figure on a light page helps nobody.

/** "light" or "dark" as the surrounding page says, null where it does not say or may not be asked. */
function schemeOfPage() {
  try {
    if (window.parent === window) return null;
    const { documentElement: root, body } = window.parent.document;
    if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "true" ? "light" : "dark";
    const named = root.dataset.theme || root.getAttribute("theme");
    return named === "dark" || named === "light" ? named : null;
  } catch {
    return null; // another origin
  }
}

/** Follow the page's scheme, else the system's; `changed` is called after each change. */
export function followScheme(changed) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.dataset.scheme = schemeOfPage() || (system.matches ? "dark" : "light");
    changed();
  };
  system.addEventListener("change", apply);
  try {
    const { documentElement: root, body } = window.parent.document;
    const observer = new MutationObserver(apply);
    observer.observe(root, { attributes: true, attributeFilter: ["data-theme", "theme"] });
    observer.observe(body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  } catch {
    // another origin: the system's scheme is all there is
  }
  apply();
}

/** The color called `name` in figure.css, in the scheme of the moment. */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const reducedMotion = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
