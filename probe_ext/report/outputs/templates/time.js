// Pointer, arrow keys and zoom of the timeline. The pictures are static: this only moves their viewBox.
(() => {
  const box = document.getElementById("time"), source = document.getElementById("series");
  if (!box || !source) return;
  const data = JSON.parse(source.textContent);
  const lanes = box.querySelector(".lanes"), tools = box.querySelector(".tools"), hint = box.querySelector(".hint");
  const inners = [...lanes.querySelectorAll("svg.inner")], movers = [...lanes.querySelectorAll("[data-x]")];
  const ticks = lanes.querySelector(".ticks"), frame = inners[0];
  const add = (parent, name, kind) => { const made = parent.appendChild(document.createElement(name)); made.className = kind; return made; };
  const cross = add(lanes, "div", "cross"), stamp = add(cross, "span", "stamp"), sel = add(lanes, "div", "sel"), live = add(box, "div", "sr");
  const read = [...lanes.querySelectorAll(".name.drawn")].flatMap((name, i) => data.lanes[i].map(s => ({ series: s, out: add(name, "b", "now"), many: data.lanes[i].length > 1 })));
  let from = 0, to = data.end, at = null, dragged = null;

  const users = l => `${l.name} ${document.querySelector("main").dataset.unit || (l.name === "1" ? "user" : "users")}`;
  const clock = s => {
    const r = Math.round(s), h = Math.floor(r / 3600), m = Math.floor(r % 3600 / 60), two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(r % 60)}` : `${m}:${two(r % 60)}`;
  };
  const preciseClock = s => to - from < 30 ? `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}` : clock(s);
  const plot = () => { const r = frame.parentNode.getBoundingClientRect(), b = lanes.getBoundingClientRect(); return { left: r.left - b.left, width: r.width, page: r.left }; };
  const place = t => plot().left + (t - from) / (to - from) * plot().width;
  const moment = x => Math.min(to, Math.max(from, from + (x - plot().page) / plot().width * (to - from)));

  function nearest(s, t) {
    let low = 0, high = s.t.length - 1;
    if (high < 0) return s.zero ? 0 : null;
    while (low < high) { const mid = (low + high + 1) >> 1; if (s.t[mid] <= t) low = mid; else high = mid - 1; }
    if (s.holds) return s.t[low] <= t ? s.v[low] : null;
    const next = Math.min(low + 1, s.t.length - 1), i = Math.abs(s.t[next] - t) < Math.abs(s.t[low] - t) ? next : low;
    return Math.abs(s.t[i] - t) <= Math.max(2, (to - from) / 150) ? s.v[i] : s.zero ? 0 : null;
  }
  const digits = v => { const n = v < .995 ? 2 : v < 9.95 ? 1 : 0; return v.toLocaleString("en", { minimumFractionDigits: n, maximumFractionDigits: n }); };
  const amount = (v, unit) => unit === "s" && v && v < .0995 ? digits(v * 1000) + " ms" : (Number.isInteger(v) ? v.toLocaleString("en") : digits(v)) + (unit && " " + unit);
  const figure = (s, v) => v === null ? "–" : amount(v, s.unit); // as in formats.py

  function point(t) {
    at = t;
    cross.style.display = "block"; lanes.classList.add("reading");
    cross.style.left = place(t) + "px";
    stamp.textContent = preciseClock(t);
    stamp.classList.toggle("left", t > from + (to - from) * .9);
    for (const r of read) r.out.textContent = (r.many ? r.series.name + " " : "") + figure(r.series, nearest(r.series, t));
  }
  function clear() {
    at = null;
    cross.style.display = "none"; lanes.classList.remove("reading");
    for (const r of read) r.out.textContent = "";
  }
  const speak = () => { live.textContent = at === null ? "" : `at ${preciseClock(at)}: ` + read.map(r => `${r.series.name} ${figure(r.series, nearest(r.series, at))}`).join(", "); };

  function show(a, b) {
    const least = Math.max(1, data.end / 2000), length = Math.min(data.end, Math.max(least, b - a));
    from = Math.min(Math.max(0, a), data.end - length); to = from + length;
    const unit = 1000 / data.end;
    for (const svg of inners) svg.setAttribute("viewBox", `${from * unit} 0 ${length * unit} 100`);
    for (const text of movers) {
      const x = (text.dataset.x / 100 * data.end - from) / length * 100;
      text.setAttribute("x", x + "%");
      text.style.display = x < 0 || x > 100 ? "none" : "";
    }
    drawTicks(length);
    for (const button of tools.querySelectorAll("[data-from]"))
      button.setAttribute("aria-pressed", Math.abs(button.dataset.from - from) < .01 && Math.abs(button.dataset.to - to) < .01);
    if (at !== null && (at < from || at > to)) clear(); else if (at !== null) point(at);
  }

  function drawTicks(length) {
    const most = Math.max(3, Math.min(7, plot().width / 80));
    const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200].find(s => length / s <= most) || 86400;
    ticks.replaceChildren();
    for (let t = Math.ceil(from / step - 1e-9) * step; t <= to + 1e-9; t += step) {
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text"), x = (t - from) / length;
      text.setAttribute("x", x * 100 + "%"); text.setAttribute("dy", 12); text.setAttribute("text-anchor", x > .97 ? "end" : "middle");
      text.textContent = clock(t);
      ticks.append(text);
    }
  }

  const zoom = (factor, centre) => show(centre - (centre - from) * factor, centre + (to - centre) * factor);
  const slide = share => { const by = (to - from) * share; show(Math.min(from + by, data.end - (to - from)), to + by); };
  const middle = () => at ?? (from + to) / 2;
  const button = (text, label, act) => {
    const b = add(tools, "button", "");
    b.type = "button"; b.textContent = text; b.setAttribute("aria-label", label); b.addEventListener("click", act);
    return b;
  };
  const view = (text, label, a, b) => { const made = button(text, label, () => show(a, b)); made.dataset.from = a; made.dataset.to = b; };
  view("whole run", "Show the whole run", 0, data.end);
  button("+", "Zoom in", () => zoom(.5, middle()));
  button("−", "Zoom out", () => zoom(2, middle()));
  button("◂", "Earlier", () => slide(-.5));
  button("▸", "Later", () => slide(.5));
  if (data.levels.length > 12) {
    const label = add(tools, "label", ""), list = add(label, "select", "");
    label.prepend("level: ");
    list.append(new Option("–", ""), ...data.levels.map((l, i) => new Option(users(l), i)));
    list.addEventListener("change", () => { const l = data.levels[list.value]; if (l) show(l.from, l.to); });
  } else if (data.levels.length) {
    tools.append("level:");
    for (const l of data.levels) view(l.name, `Show the level of ${users(l)}`, l.from, l.to);
  }
  tools.hidden = hint.hidden = false;

  lanes.tabIndex = 0;
  lanes.setAttribute("role", "group");
  lanes.setAttribute("aria-label", "Timeline. Arrow keys move the pointer, plus and minus zoom, zero shows the whole run.");
  live.setAttribute("aria-live", "polite");
  lanes.addEventListener("keydown", e => {
    const step = (to - from) / (e.shiftKey ? 10 : 100), now = middle();
    const act = { ArrowLeft: () => move(now - step), ArrowRight: () => move(now + step), Home: () => move(from), End: () => move(to), "+": () => zoom(.5, now), "=": () => zoom(.5, now), "-": () => zoom(2, now), 0: () => show(0, data.end), Escape: () => { clear(); show(0, data.end); } }[e.key];
    if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    act();
    speak();
  });
  function move(t) {
    const x = Math.min(data.end, Math.max(0, t));
    if (x < from) show(x, x + to - from); else if (x > to) show(x - (to - from), x);
    point(x);
  }
  lanes.addEventListener("pointermove", e => {
    point(moment(e.clientX));
    if (dragged === null) return;
    const a = place(Math.min(dragged, at)), b = place(Math.max(dragged, at));
    sel.style.display = "block"; sel.style.left = a + "px"; sel.style.width = b - a + "px";
  });
  lanes.addEventListener("pointerdown", e => { if (e.button === 0 && !e.target.closest("a")) { dragged = moment(e.clientX); point(dragged); } });
  const done = keep => () => {
    sel.style.display = "none";
    if (keep && dragged !== null && at !== null && Math.abs(place(dragged) - place(at)) > 8) show(Math.min(dragged, at), Math.max(dragged, at));
    dragged = null;
  };
  addEventListener("pointerup", done(true));
  addEventListener("pointercancel", done(false));
  lanes.addEventListener("pointerleave", e => { if (dragged === null && e.pointerType === "mouse") clear(); });
  lanes.addEventListener("dblclick", () => show(0, data.end));
  addEventListener("resize", () => show(from, to));
  show(0, data.end);
})();
