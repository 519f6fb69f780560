// Charts by level: pointer and arrow keys select a number of users in all of them and in the tables at once.
(() => {
  const charts = [...document.querySelectorAll("svg[data-points]")].map(svg => ({
    svg, points: svg.dataset.points.split("\n"), users: svg.dataset.users.split(" "), box: svg.parentNode }));
  if (!charts.length) return;
  const rows = [...document.querySelectorAll(".levels-table tbody tr")];
  for (const title of document.querySelectorAll("svg.stack title")) title.remove();
  const live = document.body.appendChild(document.createElement("div"));
  live.className = "sr"; live.setAttribute("aria-live", "polite");
  let chosen = null; // {users, chart, at}

  for (const chart of charts) {
    chart.mark = chart.svg.insertBefore(document.createElementNS("http://www.w3.org/2000/svg", "rect"), chart.svg.firstChild);
    chart.mark.setAttribute("class", "chosen"); chart.mark.setAttribute("height", "100%");
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
      const last = chart.points.length - 1;
      const now = !chosen ? -1 : chosen.chart === chart ? chosen.at : chart.users.indexOf(chosen.users);
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
    chosen = to === null ? null : { users: by.users[to], chart: by, at: to };
    for (const chart of charts) {
      const first = chosen ? chart.users.indexOf(chosen.users) : -1; // all visits to one number of users are neighbours
      chart.mark.style.display = first < 0 ? "none" : "block";
      chart.read.hidden = !chosen || chart !== by;
      if (first < 0) continue;
      const visits = chart.users.lastIndexOf(chosen.users) - first + 1, slot = 100 / chart.points.length;
      chart.mark.setAttribute("x", first * slot + "%");
      chart.mark.setAttribute("width", visits * slot + "%");
      if (chart !== by) continue;
      chart.read.textContent = chart.points[to];
      const at = chart.svg.getBoundingClientRect(), box = chart.box.getBoundingClientRect(), width = chart.read.offsetWidth;
      const middle = at.left - box.left + at.width * (to + .5) / chart.points.length;
      chart.read.style.left = Math.max(0, Math.min(middle - width / 2, box.width - width)) + "px";
    }
    for (const row of rows) row.classList.toggle("chosen", chosen !== null && row.dataset.users === chosen.users);
  }
})();
