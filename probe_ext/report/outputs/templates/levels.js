// The pictures by level answer the pointer and the arrow keys: one level at a time, in all of them together.
(() => {
  const pictures = [...document.querySelectorAll("svg[data-points]")].map(svg => ({ svg, points: svg.dataset.points.split("\n"), box: svg.parentNode }));
  if (!pictures.length) return;
  const rows = [...document.querySelectorAll("#levels-table tbody tr")];
  for (const title of document.querySelectorAll("svg.stack title")) title.remove();
  const said = document.body.appendChild(document.createElement("div"));
  said.className = "sr"; said.setAttribute("aria-live", "polite");
  let level = null;

  for (const one of pictures) {
    one.mark = one.svg.insertBefore(document.createElementNS("http://www.w3.org/2000/svg", "rect"), one.svg.firstChild);
    one.mark.setAttribute("class", "chosen"); one.mark.setAttribute("height", "100%"); one.mark.setAttribute("width", 100 / one.points.length + "%");
    one.read = one.box.appendChild(document.createElement("div"));
    one.read.className = "read"; one.read.hidden = true; one.read.setAttribute("aria-hidden", "true");
    one.box.classList.add("reads");
    one.box.tabIndex = 0;
    one.box.setAttribute("role", "group");
    one.box.setAttribute("aria-label", one.svg.getAttribute("aria-label").split(". ")[0] + ". Left and right arrow keys read each level.");
    one.box.addEventListener("pointermove", e => choose(under(one, e.clientX), one));
    one.box.addEventListener("pointerdown", e => choose(under(one, e.clientX), one));
    one.box.addEventListener("pointerleave", e => { if (e.pointerType === "mouse") choose(null); }); // a finger that is lifted leaves what it read
    one.box.addEventListener("blur", () => choose(null));
    one.box.addEventListener("keydown", e => {
      const last = one.points.length - 1, now = level ?? -1;
      const to = { ArrowRight: Math.min(now + 1, last), ArrowLeft: Math.max(now < 0 ? last : now - 1, 0), Home: 0, End: last }[e.key];
      if (to === undefined && e.key !== "Escape") return;
      e.preventDefault();
      choose(to ?? null, one);
      said.textContent = to === undefined ? "" : one.points[to];
    });
  }
  function under(one, x) {
    const at = one.svg.getBoundingClientRect();
    return Math.min(one.points.length - 1, Math.max(0, Math.floor((x - at.left) / at.width * one.points.length)));
  }
  function choose(to, by) {
    level = to;
    for (const one of pictures) {
      one.mark.style.display = to === null ? "none" : "block";
      one.read.hidden = to === null || one !== by;
      if (to === null) continue;
      one.mark.setAttribute("x", 100 * to / one.points.length + "%");
      one.read.textContent = one.points[to];
      const at = one.svg.getBoundingClientRect(), box = one.box.getBoundingClientRect(), width = one.read.offsetWidth;
      const middle = at.left - box.left + at.width * (to + .5) / one.points.length;
      one.read.style.left = Math.max(0, Math.min(middle - width / 2, box.width - width)) + "px";
    }
    rows.forEach((row, i) => row.classList.toggle("chosen", i === to));
  }
})();
