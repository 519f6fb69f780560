"use strict";
// Definitions of figures as tooltips on hover and focus. Without scripts the style sheet shows them at the bottom.
(() => {
  document.documentElement.classList.add("js");
  const tip = document.body.appendChild(document.createElement("div"));
  tip.className = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true"); // a screen reader has aria-describedby
  let owner = null, timer = 0;

  function show(element, text) {
    clearTimeout(timer);
    owner = element;
    tip.textContent = text; tip.hidden = false;
    const at = element.getBoundingClientRect(), own = tip.getBoundingClientRect(), edge = 8;
    const left = Math.max(edge, Math.min(at.left, document.documentElement.clientWidth - own.width - edge));
    const below = at.bottom + own.height + edge < innerHeight;
    tip.style.left = left + scrollX + "px";
    tip.style.top = (below ? at.bottom + 6 : at.top - own.height - 6) + scrollY + "px";
  }
  const hide = () => { tip.hidden = true; owner = null; };
  const leave = () => { clearTimeout(timer); timer = setTimeout(hide, 150); };
  const figureOf = e => e.target instanceof Element && e.target.closest("a.term,td[data-t],[data-def]");

  function meaning(element) {
    if (element.dataset.def) return element.dataset.def;
    const own = document.querySelector(`#d-${element.dataset.t} dd`).textContent, name = document.querySelector(`#d-${element.dataset.t} dt`).textContent;
    const users = element.parentNode.querySelector("th").textContent;
    const level = element.closest("table").matches(".by-level") ? ` at ${users} ${document.querySelector("main").dataset.unit || (users === "1" ? "user" : "users")}` : "";
    const why = element.dataset.why ? ` (${element.dataset.why})` : "";
    return `${name}${level}: ${element.firstChild.textContent.trim()}${why}. ${own}`;
  }
  for (const table of document.querySelectorAll("table")) { // one Tab stop each; arrow keys move between figures
    const figures = [...table.querySelectorAll("td[data-t]")], rows = [...table.rows];
    figures.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; cell.setAttribute("aria-describedby", `m-${cell.dataset.t}`); });
    table.addEventListener("keydown", e => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key], from = e.target;
      if (!step || !figures.includes(from) || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      let row = rows.indexOf(from.parentNode), column = from.cellIndex, to;
      do {
        row += step[0]; column += step[1];
        to = rows[row]?.cells[column];
      } while (to && !figures.includes(to));
      if (!to) return;
      from.tabIndex = -1; to.tabIndex = 0;
      to.focus();
    });
  }
  addEventListener("pointerover", e => {
    const found = figureOf(e);
    if (found) show(found, meaning(found)); else if (tip.contains(e.target)) clearTimeout(timer); else if (owner) leave();
  });
  addEventListener("focusin", e => { const found = figureOf(e); if (found) show(found, meaning(found)); else hide(); });
  addEventListener("focusout", hide);
  addEventListener("keydown", e => { if (e.key === "Escape" && owner) hide(); });
  addEventListener("click", e => { // without hover, the first tap shows the definition and the second follows the link
    const found = figureOf(e);
    if (found && found.matches("a") && matchMedia("(hover:none)").matches && found.dataset.shown !== "1") {
      e.preventDefault();
      for (const other of document.querySelectorAll("[data-shown]")) delete other.dataset.shown;
      found.dataset.shown = "1";
      show(found, meaning(found));
    }
  });
})();
