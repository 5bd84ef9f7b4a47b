// Mends the markup of components, whenever the page changes: names of controls, and tables on a phone.
() => {
  const SHOWN = "#models-table table, #models-card table";

  // A control is named by the text that it shows (WCAG 2.5.3): other words in its label go.
  function mendNames() {
    for (const control of document.querySelectorAll("button[aria-label], a[aria-label]")) {
      const words = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
      const shown = words(control.innerText ?? "");
      if (shown && !words(control.getAttribute("aria-label")).includes(shown)) control.removeAttribute("aria-label");
    }
  }

  // On a phone, each cell is below the last, after the title of its column: page.css.
  function mendTables() {
    for (const table of document.querySelectorAll(SHOWN)) {
      const titles = [...table.querySelectorAll("thead th")].map((title) => title.textContent.trim());
      for (const row of table.querySelectorAll("tbody tr"))
        [...row.children].forEach((cell, column) => {
          if (cell.dataset.title !== titles[column]) cell.dataset.title = titles[column] ?? "";
        });
    }
  }

  let planned = false;
  function plan() {
    if (planned) return;
    planned = true;
    setTimeout(() => {
      planned = false;
      mendNames();
      mendTables();
    }, 50);
  }
  new MutationObserver(plan).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-label"] });
  plan();
}
