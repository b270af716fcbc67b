// Names that the theme leaves out, for those who hear the page.
(() => {
  for (const fold of document.querySelectorAll(".bd-sidenav details > summary")) {
    const link = fold.closest("li").querySelector("a");
    fold.setAttribute("aria-label", `Pages below ${link.textContent.trim()}`);
  }
  // The button shows more than its label says; a name must hold what is seen.
  for (const button of document.querySelectorAll("button.search-button-field[aria-label]")) {
    button.removeAttribute("aria-label");
  }
})();
