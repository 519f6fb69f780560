// Charts by level: pointer and arrow keys select a level in all of them at once.
(() => {
  const charts = [...document.querySelectorAll("svg[data-points]")].map(svg => ({ svg, points: svg.dataset.points.split("\n"), box: svg.parentNode }));
  if (!charts.length) return;
  const rows = [...document.querySelectorAll("#levels-table tbody tr")];
  for (const title of document.querySelectorAll("svg.stack title")) title.remove();
  const live = document.body.appendChild(document.createElement("div"));
  live.className = "sr"; live.setAttribute("aria-live", "polite");
  let level = null;

  for (const chart of charts) {
    chart.mark = chart.svg.insertBefore(document.createElementNS("http://www.w3.org/2000/svg", "rect"), chart.svg.firstChild);
    chart.mark.setAttribute("class", "chosen"); chart.mark.setAttribute("height", "100%"); chart.mark.setAttribute("width", 100 / chart.points.length + "%");
    chart.read = chart.box.appendChild(document.createElement("div"));
    chart.read.className = "read"; chart.read.hidden = true; chart.read.setAttribute("aria-hidden", "true");
    chart.box.classList.add("reads");
    chart.box.tabIndex = 0;
    chart.box.setAttribute("role", "group");
    chart.box.setAttribute("aria-label", chart.svg.getAttribute("aria-label").split(". ")[0] + ". Left and right arrow keys read each level.");
    chart.box.addEventListener("pointermove", e => choose(under(chart, e.clientX), chart));
    chart.box.addEventListener("pointerdown", e => choose(under(chart, e.clientX), chart));
    chart.box.addEventListener("pointerleave", e => { if (e.pointerType === "mouse") choose(null); }); // on touch, the reading stays after lifting the finger
    chart.box.addEventListener("blur", () => choose(null));
    chart.box.addEventListener("keydown", e => {
      const last = chart.points.length - 1, now = level ?? -1;
      const to = { ArrowRight: Math.min(now + 1, last), ArrowLeft: Math.max(now < 0 ? last : now - 1, 0), Home: 0, End: last }[e.key];
      if (to === undefined && e.key !== "Escape") return;
      e.preventDefault();
      choose(to ?? null, chart);
      live.textContent = to === undefined ? "" : chart.points[to];
    });
  }
  function under(chart, x) {
    const at = chart.svg.getBoundingClientRect();
    return Math.min(chart.points.length - 1, Math.max(0, Math.floor((x - at.left) / at.width * chart.points.length)));
  }
  function choose(to, by) {
    level = to;
    for (const chart of charts) {
      chart.mark.style.display = to === null ? "none" : "block";
      chart.read.hidden = to === null || chart !== by;
      if (to === null) continue;
      chart.mark.setAttribute("x", 100 * to / chart.points.length + "%");
      chart.read.textContent = chart.points[to];
      const at = chart.svg.getBoundingClientRect(), box = chart.box.getBoundingClientRect(), width = chart.read.offsetWidth;
      const middle = at.left - box.left + at.width * (to + .5) / chart.points.length;
      chart.read.style.left = Math.max(0, Math.min(middle - width / 2, box.width - width)) + "px";
    }
    rows.forEach((row, i) => row.classList.toggle("chosen", i === to));
  }
})();
