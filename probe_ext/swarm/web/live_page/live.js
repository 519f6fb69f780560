"use strict";
// Fetches the figures once a second and draws them. Data is inserted as text, never as HTML.
(() => {
  const $ = id => document.getElementById(id);
  const KINDS = ["served", "strained", "broken"];
  const SVG = "http://www.w3.org/2000/svg", POLL_MS = 1000, HIDDEN_POLL_MS = 5000, TIMEOUT_MS = 15000, LONG_HEADLINE = 90;
  let span = "recent", paused = false, data = null, at = null, announced = "", announcedAt = -Infinity, failures = 0;

  // ── formatting ──
  const known = v => v !== null && v !== undefined;
  const digits = v => v.toLocaleString("en", v < 1 ? { maximumFractionDigits: 2, minimumFractionDigits: 2 } : { maximumFractionDigits: v < 10 ? 1 : 0 });
  const count = v => Math.round(v).toLocaleString("en");
  const load = v => data.run && data.run.load === "rate" ? v.toLocaleString("en", { maximumFractionDigits: 3 }) : count(v);
  const percent = v => (v * 100).toFixed(0);
  const ms = v => v < .0995 ? (v * 1000).toLocaleString("en", { maximumSignificantDigits: 2 }) + " ms" : digits(v) + " s";
  const clock = s => {
    const r = Math.max(0, Math.round(s)), h = Math.floor(r / 3600), m = Math.floor(r % 3600 / 60), two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(r % 60)}` : `${m}:${two(r % 60)}`;
  };
  const html = (tag, text, kind) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (kind) e.className = kind;
    return e;
  };
  const svgElement = (tag, attributes, text) => {
    const e = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const setText = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

  // ── header ──
  const STATES = { idle: "no run", preparing: "preparing", running: "running", ending: "ending", ended: "ended" };
  function header() {
    const run = data.run, now = data.now, state = $("state"), facts = state.parentNode;
    const time = now && data.state === "running" ? " " + clock(now.t) : "";
    setText("state", STATES[data.state] + time);
    state.className = "badge " + data.state;
    const items = run ? [run.model, run.host, "SLO profile " + run.profile, `run ${run.number} · ${run.scenario}`] : [];
    if (run && run.position) items.push(run.position);
    if (run && run.levels) items.push("levels: " + run.levels.join(", "));
    const wanted = items.filter(known).join("\n");
    if (facts.dataset.shown !== wanted) {
      facts.dataset.shown = wanted;
      facts.querySelectorAll(".fact").forEach(e => e.remove());
      for (const text of wanted.split("\n")) if (text) facts.insertBefore(html("li", text, "fact"), facts.lastElementChild);
    }
    setText("number", data.said.number);
    $("number").className = data.said.tone;
    setText("headline", data.said.headline);
    $("answer").classList.toggle("long", data.said.number.length + data.said.headline.length > LONG_HEADLINE);
    setText("below", data.said.below);
    const problems = run && data.state !== "ended" ? run.problems.join(" ") : "";
    setText("problems", problems);
    $("problems").hidden = !problems;
    $("report").hidden = data.state !== "ended" || !data.runs.length || data.runs[0].report !== "ready";
    document.title = `probe: ${data.said.number}${data.said.headline}`;
    announce();
  }

  // Screen readers announce changes of the state, the users, a level's state or the headline, at most every ten seconds.
  function announce() {
    const level = data.levels[data.levels.length - 1], present = level && level.t_end === null;
    const key = [data.state, data.now && data.now.users, present && level.state, data.said.number, data.said.headline].join("|");
    if (key === announced || performance.now() - announcedAt < 10000) return;
    announced = key; announcedAt = performance.now();
    setText("news", `${data.said.number}${data.said.headline} ${data.said.below}`);
  }

  // ── now ──
  function share() {
    const now = data.now, parts = now ? KINDS.map(kind => [kind, now[kind]]) : [], box = $("share");
    const all = parts.reduce((sum, [, n]) => sum + n, 0);
    const svg = svgElement("svg", { width: "100%", height: 46, "aria-hidden": "true" });
    let x = 0;
    for (const [kind, n] of parts) {
      if (!n) continue;
      const width = n / all * 100, where = { x: x + "%", width: width + "%", height: 46 };
      svg.append(svgElement("rect", { class: kind, ...where }), svgElement("rect", { class: "over " + kind, ...where }));
      if (width > 8) svg.append(svgElement("text", { class: "inb on-" + kind, x: x + width / 2 + "%", y: 28, "text-anchor": "middle" }, `${percent(n / all)} %`));
      x += width;
    }
    box.replaceChildren(svg);
    box.setAttribute("aria-label", all ? "Recent replies: " + parts.map(([kind, n]) => `${count(n)} ${kind}`).join(", ") : "No recent replies");
    $("legend").replaceChildren(...parts.map(([kind, n]) => {
      const li = html("li"), key = svgElement("svg", { width: 14, height: 14, "aria-hidden": "true" });
      key.append(svgElement("rect", { class: kind, width: 14, height: 14, rx: 2 }), svgElement("rect", { class: "over " + kind, width: 14, height: 14, rx: 2 }));
      li.append(key, kind + " ", html("b", all ? count(n) : "–"));
      return li;
    }));
    setText("window", now ? recent(now) : "");
  }
  const plural = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;
  function recent(now) {
    const seconds = Math.round(Math.min(now.window_s, now.t)), before = data.levels.filter(l => l.t_end !== null).pop();
    if (!now.window_replies) return `No reply has ended in the last ${seconds} s.`;
    const mixed = before && before.users < now.users && before.t_end > now.t - now.window_s ? ` Some of them met the load of the level before, with ${data.run.load === "rate" ? load(before.users) + " requests/s" : plural(before.users, "user", "users")}.` : "";
    const ended = data.state === "ended", all = now.users && !ended ? ` of ${plural(now.users, "user", "users")}. Replies in flight are not included` : ` ${now.window_users === 1 ? "user" : "users"}`;
    return `Replies that ended in the ${ended ? "run's " : ""}last ${seconds} s: ${plural(now.window_replies, "reply", "replies")} to ${count(now.window_users)}${all}.${mixed}`;
  }

  const above = (v, served, strained) => !known(v) || !known(served) ? "" : v > strained ? "b" : v > served ? "m" : "";
  const below = (v, served, strained) => !known(v) || !known(served) ? "" : v < strained ? "b" : v < served ? "m" : "";
  const WORD = { "": "", m: "strained", b: "broken" };
  function tiles() {
    const n = data.now, b = data.bounds, list = [];
    const tile = (name, value, unit, note, kind = "") => list.push({ name, value, unit, note, kind });
    if (n) {
      const ttft = above(n.ttft_p95, b.first_word_served, b.first_word_strained), rate = below(n.decode_rate_p50, b.typing_served, b.typing_strained);
      const gap = above(n.longest_gap_max, b.silence_served, b.silence_strained), full = known(n.kv_usage) && n.kv_usage >= .95 ? "m" : "";
      const inFlight = data.workers.reduce((sum, w) => sum + (w.in_flight || 0), 0), quiet = known(n.last_reply) ? n.t - n.last_reply : null;
      tile("TTFT p95", known(n.ttft_p95) ? digits(n.ttft_p95) : "–", "s", known(n.ttft_p50) ? `p50: ${ms(n.ttft_p50)}` : "no replies yet", ttft);
      tile("decode rate", known(n.decode_rate_p50) ? digits(n.decode_rate_p50) : "–", "tok/s", known(n.decode_rate_p05) ? `per reply, p50; p05: ${digits(n.decode_rate_p05)}` : "", rate);
      tile("longest gap", known(n.longest_gap_max) ? digits(n.longest_gap_max) : "–", "s", WORD[gap], gap);
      tile("throughput", known(n.tokens_per_s) ? count(n.tokens_per_s) : "–", "tok/s", "all replies together");
      tile("KV cache", known(n.kv_usage) ? percent(n.kv_usage) : "–", known(n.kv_usage) ? "%" : "", full ? "nearly full" : known(n.kv_usage) ? "" : "no data", full);
      tile("server queue", known(n.running) || known(n.waiting) ? `${known(n.running) ? count(n.running) : "–"} · ${known(n.waiting) ? count(n.waiting) : "–"}` : "–", "", "running · waiting", n.waiting > 0 ? "m" : "");
      tile("preemptions", known(n.preemptions) ? count(n.preemptions) : "–", "", known(n.preemptions) ? "in this run" : "no data", n.preemptions > 0 ? "m" : "");
      tile("replies", count(n.replies), "", `${count(inFlight)} in flight` + (data.state === "running" && quiet > 5 ? `, none finished for ${Math.round(quiet)} s` : ""));
      const generators = data.workers.filter(w => w.id !== "master"), away = generators.filter(gone).length, worst = key => Math.max(...data.workers.map(w => w[key]).filter(known));
      const cpu = worst("cpu"), lag = worst("receive_lag_max"), slow = Boolean(data.run && data.run.generator);
      tile("load generators", isFinite(cpu) ? percent(cpu) : count(generators.length), isFinite(cpu) ? "% CPU" : "", away ? `${count(away)} of ${count(generators.length)} lost` : slow ? "do not keep up" : isFinite(lag) ? `receive lag ${ms(lag)}, last ${Math.round(Math.min(n.window_s, n.t))} s` : "", away || slow ? "b" : "");
      tile("failed", count(n.failed), "", n.failed ? `${count(n.window_failed)} in the window` : "", n.window_failed ? "b" : n.failed ? "m" : "");
    }
    $("tiles").replaceChildren(...list.map(({ name, value, unit, note, kind }) => {
      const div = html("div", undefined, kind), dd = html("dd", value);
      if (unit) dd.append(html("small", unit));
      div.append(html("dt", name), dd, html("dd", note || "\u00a0"));
      return div;
    }));
  }

  // ── the charts ──
  const LANES = [
    { key: "users", name: "users", unit: "sending requests", height: 62, lines: [["users", "count"]], format: load },
    { key: "served", name: "recent replies", unit: "% served, strained, broken", height: 96, stack: KINDS, top: 1, scale: 100, bounds: ["served_share"], of: "" },
    { key: "ttft", name: "TTFT", unit: "s, p95; thin: p50", height: 76, lines: [["ttft_p95", ""], ["ttft_p50", "thin"]], bounds: ["first_word_served", "first_word_strained"], of: " s", format: ms },
    { key: "rate", name: "decode rate", unit: "tokens/s per reply, p50; thin: p05", height: 76, lines: [["decode_rate_p50", ""], ["decode_rate_p05", "thin"]], bounds: ["typing_served", "typing_strained"], of: "/s", format: digits },
    { key: "silence", name: "longest gap", unit: "s, between tokens", height: 62, lines: [["longest_gap_max", ""]], bounds: ["silence_served", "silence_strained"], of: " s", format: ms },
    { key: "kv", name: "KV cache", unit: "% used; red: preemptions", height: 62, area: "kv_usage", top: 1, scale: 100, marks: "preemptions", format: v => percent(v) + " %" },
    { key: "queue", name: "server queue", unit: "running; dashed: waiting", height: 62, lines: [["running", ""], ["waiting", "waiting"]], format: count },
  ];
  // Only with --gpu-metrics.
  const GPU_LANES = [
    { key: "gpu", name: "GPU", unit: "% busy, the busiest", height: 62, area: "gpu_utilisation", top: 1, scale: 100, format: v => percent(v) + " %" },
    { key: "power", name: "GPU power", unit: "W, all together", height: 62, lines: [["gpu_power", ""]], format: v => count(v) + " W" },
    { key: "heat", name: "GPU temperature", unit: "°C, the hottest", height: 62, lines: [["gpu_temperature", ""]], format: v => count(v) + " °C" },
  ];
  const measured = spec => (data.history[spec.area || spec.lines[0][0]] || []).some(known);
  const NAMES = { users: "users", served: "replies served", strained: "strained", broken: "broken", ttft_p50: "TTFT p50", ttft_p95: "TTFT p95", decode_rate_p50: "decode rate p50", decode_rate_p05: "decode rate p05", longest_gap_max: "longest gap", kv_usage: "KV", running: "running", waiting: "waiting", preemptions: "preemptions", failed: "failed", gpu_utilisation: "GPU", gpu_power: "GPU power", gpu_temperature: "GPU temperature" };
  const FORMATS = { ttft_p50: ms, ttft_p95: ms, decode_rate_p50: v => digits(v) + "/s", decode_rate_p05: v => digits(v) + "/s", longest_gap_max: ms, kv_usage: v => percent(v) + " %", gpu_utilisation: v => percent(v) + " %", gpu_power: v => count(v) + " W", gpu_temperature: v => count(v) + " °C" };

  const nice = v => { const p = 10 ** Math.floor(Math.log10(v)); return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(f => f * p).find(c => c >= v * .999); };
  const view = () => {
    const t = data.history.t, to = t.length ? t[t.length - 1] : 1;
    return span === "recent" ? [Math.max(0, to - 300), Math.max(to, 60)] : [0, Math.max(to, 60)];
  };
  const X = (t, [from, to]) => (t - from) / (to - from) * 1000;

  function path(t, v, box, top) {
    let d = "", on = false;
    t.forEach((moment, i) => {
      if (!known(v[i])) { on = false; return; }
      d += `${on ? "L" : "M"}${X(moment, box).toFixed(1)} ${(100 - v[i] / top * 100).toFixed(2)}`;
      if (!on && !known(v[i + 1])) d += "h.01";
      on = true;
    });
    return d;
  }

  function band(t, low, high, box, top) {
    const drawn = [...t.keys()].filter(i => high[i] > low[i] || high[i - 1] > low[i - 1] || high[i + 1] > low[i + 1]);
    let d = "", run = [];
    const close = () => {
      if (run.length < 2) { run = []; return; }
      d += "M" + run.map(i => `${X(t[i], box).toFixed(1)} ${(100 - high[i] / top * 100).toFixed(2)}`).join("L");
      d += "L" + run.reverse().map(i => `${X(t[i], box).toFixed(1)} ${(100 - low[i] / top * 100).toFixed(2)}`).join("L") + "Z";
      run = [];
    };
    for (const i of drawn) { if (run.length && i !== run[run.length - 1] + 1) close(); run.push(i); }
    close();
    return d;
  }

  // Of the replies in the window, the share of each kind; nothing where none ended.
  function shares(kinds) {
    const h = data.history, all = h.t.map((_, i) => kinds.reduce((sum, kind) => sum + (h[kind][i] || 0), 0));
    return { t: h.t, ...Object.fromEntries(kinds.map(kind => [kind, h[kind].map((v, i) => all[i] ? v / all[i] : null)])) };
  }

  function lane(spec) {
    const h = spec.stack ? shares(spec.stack) : data.history, t = h.t, box = view(), row = html("div", undefined, "lane"), name = html("div", spec.name, "name");
    name.append(html("span", spec.unit));
    row.append(name);
    const columns = [...(spec.stack || []), ...(spec.lines || []).map(l => l[0]), ...(spec.area ? [spec.area] : [])];
    const values = columns.flatMap(c => h[c] || []).filter(known);
    if (!values.length) {
      const why = ["kv", "queue"].includes(spec.key) ? (data.run && !data.run.metrics ? "server metrics are not read" : "no data from the server") : "no data yet";
      row.append(html("p", "– " + why, "absent"));
      return row;
    }
    const sums = spec.stack ? t.map((_, i) => spec.stack.reduce((s, c) => s + (h[c][i] || 0), 0)) : values;
    const bound = (spec.bounds || []).map(b => data.bounds[b]).filter(known);
    const peak = Math.max(...sums, ...values, 1e-9);
    const top = spec.top || nice(Math.max(peak * 1.05, bound.length && peak > bound[0] * .3 ? bound[0] * 1.1 : 0));
    const latest = columns.map(c => { const v = (h[c] || []).filter(known).pop(); return known(v) ? `${NAMES[c]} ${(spec.stack ? v => percent(v) + " %" : FORMATS[c] || count)(v)}` : ""; }).filter(Boolean).join(", ");
    const svg = svgElement("svg", { class: "plot", width: "100%", height: spec.height, role: "img", "aria-label": `${spec.name}: latest ${latest}` });
    for (const f of [0, .5, 1]) {
      svg.append(svgElement("line", { class: "grid", x1: 0, x2: "100%", y1: `${100 - f * 100}%`, y2: `${100 - f * 100}%` }));
      const v = top * f * (spec.scale || 1);
      svg.append(svgElement("text", { x: -8, y: `${100 - f * 100}%`, dy: 4, "text-anchor": "end" }, v === 0 ? "0" : v >= 1000 ? count(v) : String(+v.toPrecision(2))));
    }
    const inner = svgElement("svg", { class: "inner", width: "100%", height: "100%", viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
    svg.append(inner);
    if (spec.stack) {
      let low = t.map(() => 0);
      spec.stack.forEach((column, k) => {
        const high = low.map((v, i) => v + (h[column][i] || 0)), d = band(t, low, high, box, top);
        if (d) {
          inner.append(svgElement("path", { class: KINDS[k], d }));
          if (k) inner.append(svgElement("path", { class: "over " + KINDS[k], d }));
        }
        low = high;
      });
    }
    if (spec.area) {
      const v = h[spec.area], zero = v.map(() => 0);
      inner.append(svgElement("path", { class: "area", d: band(t, zero, v.map(x => x || 0), box, top) }), svgElement("path", { class: "ln", d: path(t, v, box, top) }));
    }
    for (const [column, kind] of (spec.lines || []).slice().reverse()) inner.append(svgElement("path", { class: "ln " + kind, d: path(t, h[column], box, top) }));
    for (const [k, value] of bound.entries()) if (value <= top) {
      const crowded = k && Math.abs(value - bound[0]) / top * spec.height < 14, y = 100 - value / top * 100 + "%";
      svg.append(svgElement("line", { class: "thr", x1: 0, x2: "100%", y1: y, y2: y }), svgElement("text", { class: "thrlab", x: "100%", y, dx: 6, dy: 4 }, crowded ? "" : spec.scale ? percent(value) + " %" : value + spec.of));
    }
    if (spec.marks) {
      const d = t.map((moment, i) => h[spec.marks][i] ? `M${X(moment, box).toFixed(1)} 0V34` : "").join("");
      if (d) inner.append(svgElement("path", { class: "tick", d }));
    }
    const taken = bound.map(b => spec.height * (1 - b / top)), ends = spec.stack ? [] : spec.area ? [[spec.area, ""]] : spec.lines;
    for (const [column, kind] of ends) {
      const v = h[column].filter(known).pop(), y = spec.height * (1 - v / top);
      if (!known(v) || taken.some(other => Math.abs(other - y) < 13)) continue;
      taken.push(y);
      svg.append(svgElement("text", { class: "lab " + kind, x: "100%", y, dx: 6, dy: 4 }, (spec.format || count)(v)));
    }
    const frame = html("div", undefined, "frame");
    frame.append(svg);
    row.append(frame);
    return row;
  }

  function axis() {
    const [from, to] = view(), svg = svgElement("svg", { width: "100%", height: 18, "aria-hidden": "true" }), row = html("div", undefined, "lane"), frame = html("div", undefined, "frame");
    const most = Math.max(3, Math.min(8, $("lanes").clientWidth / 130));
    const step = [10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200].find(s => (to - from) / s <= most) || 86400;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) svg.append(svgElement("text", { x: (t - from) / (to - from) * 100 + "%", dy: 12, "text-anchor": "middle" }, clock(t)));
    frame.append(svg);
    const name = html("div", "time", "name");
    name.append(html("span", "since the run started"));
    row.append(name, frame);
    return row;
  }

  function charts() {
    const lanes = $("lanes"), cross = html("div", undefined, "cross");
    lanes.replaceChildren(...[...LANES, ...GPU_LANES.filter(measured)].map(lane), axis(), cross);
    if (at !== null) point(at);
  }

  const plot = () => { const f = $("lanes").querySelector("svg.plot"); return f ? f.getBoundingClientRect() : null; };
  function point(t) {
    const r = plot(), [from, to] = view(), h = data.history;
    if (!r || !h.t.length) return;
    at = Math.min(Math.max(t, Math.max(from, h.t[0])), h.t[h.t.length - 1]);
    const i = h.t.reduce((best, moment, k) => Math.abs(moment - at) < Math.abs(h.t[best] - at) ? k : best, 0);
    const cross = $("lanes").querySelector(".cross"), lanes = $("lanes").getBoundingClientRect();
    cross.style.display = "block";
    cross.style.left = r.left - lanes.left + (h.t[i] - from) / (to - from) * r.width + "px";
    const out = $("readout");
    out.replaceChildren("at ", html("b", clock(h.t[i])));
    for (const [column, name] of Object.entries(NAMES)) {
      const v = (h[column] || [])[i];
      if (!known(v) || (!v && /broken|strained|preemptions|failed/.test(name))) continue;
      out.append(`  · ${name} `, html("b", (FORMATS[column] || count)(v)));
    }
  }
  const moment = x => { const r = plot(), [from, to] = view(); return r ? from + (x - r.left) / r.width * (to - from) : 0; };
  const lanes = $("lanes");
  lanes.addEventListener("pointermove", e => { $("readout").removeAttribute("aria-live"); if (data) point(moment(e.clientX)); });
  lanes.addEventListener("pointerleave", clearPointer);
  lanes.addEventListener("keydown", e => {
    if (!data || !data.history.t.length) return;
    const last = data.history.t[data.history.t.length - 1], [from, to] = view(), step = Math.max(data.history.step, (to - from) / 60);
    const where = { ArrowLeft: () => (at ?? last) - step, ArrowRight: () => (at ?? last) + step, Home: () => from, End: () => last }[e.key];
    if (e.key === "Escape") clearPointer();
    if (!where) return;
    e.preventDefault();
    $("readout").setAttribute("aria-live", "polite");
    point(where());
  });
  function clearPointer() { at = null; const cross = lanes.querySelector(".cross"); if (cross) cross.style.display = "none"; }

  // ── the tables ──
  function table(id, columns, rows, kind, empty) {
    const body = $(id).tBodies[0], head = $(id).tHead;
    if (!head.rows.length) {
      const tr = head.insertRow();
      for (const c of columns) { const th = html("th", c.head, c.text ? "text" : ""); th.scope = "col"; if (c.unit) th.append(html("span", c.unit)); tr.append(th); }
    }
    body.replaceChildren(...rows.map(row => {
      const tr = html("tr", undefined, kind(row));
      columns.forEach((c, k) => {
        const value = c.of(row), td = html(k ? "td" : "th", known(value) ? String(value) : "–", `${c.text ? "text " : ""}${c.kind || ""}${known(value) && value !== "" ? "" : " none"}`);
        if (!k) td.scope = "row";
        if (c.whole) td.title = c.whole(row);
        tr.append(td);
      });
      return tr;
    }));
    if (!rows.length) { const tr = body.insertRow(), td = tr.insertCell(); td.colSpan = columns.length; td.className = "text none"; td.textContent = empty; }
  }
  const maybe = (v, format) => known(v) ? format(v) : null;
  const CAUSES = { first_word: "first word", typing: "typing", silence: "silence", answer: "answers" }; // as in the report;
  const STATES_OF_LEVELS = { held: ["holds", "holds"], failed: ["fails", "fails"], unproven: ["not proven yet", "unproven"] };
  const stateOf = l => (l.t_end === null && l.early ? "too early to say" : STATES_OF_LEVELS[l.state][l.t_end === null ? 0 : 1]) + (l.visit > 1 ? ", second visit" : l.band ? ", ramp" : "");
  const LEVELS = [
    { head: "users", of: l => load(l.users) },
    { head: "state", text: true, kind: "state", of: stateOf },
    { head: "replies", unit: "served", of: l => maybe(l.served_share, v => percent(v) + " %") },
    { head: "range", unit: "95 %", of: l => maybe(l.served_share_low, low => `${percent(low)}–${percent(l.served_share_high)} %`) },
    { head: "limited by", text: true, of: l => l.state === "failed" ? l.why.map(w => CAUSES[w] || w).join(", ") : "" },
    { head: "measured", of: l => clock((l.t_end ?? data.now.t) - l.t_start) }, { head: "replies", of: l => count(l.replies) },
    { head: "TTFT p50", of: l => maybe(l.ttft_p50, ms) }, { head: "TTFT p95", of: l => maybe(l.ttft_p95, ms) }, { head: "decode rate", unit: "per reply, p50, tok/s", of: l => maybe(l.decode_rate_p50, digits) },
    { head: "longest", unit: "gap", of: l => maybe(l.longest_gap_max, ms) }, { head: "KV", unit: "peak", of: l => maybe(l.kv_usage_max, v => percent(v) + " %") },
    { head: "preemptions", of: l => maybe(l.preemptions, count) },
  ];
  const gone = w => w.state === "lost" || w.state === "missing";
  const WORKERS = [
    { head: "process", text: true, of: w => w.id.replace(/^(.*_[0-9a-f]{6})[0-9a-f]{26}$/, "$1…"), whole: w => w.id },
    { head: "state", text: true, kind: "state", of: w => w.state },
    { head: "CPU", unit: "of one core", of: w => maybe(w.cpu, v => percent(v) + " %") },
    { head: "receive lag", unit: "worst in the window", of: w => maybe(w.receive_lag_max, ms) },
    { head: "loop lag", unit: "worst in the run", of: w => maybe(w.loop_lag_max, ms) },
    { head: "clock", unit: "±", of: w => maybe(w.clock_error, v => v === 0 ? "same" : ms(v)) },
    { head: "users", of: w => maybe(w.users, count) }, { head: "in flight", of: w => maybe(w.in_flight, count) },
    { head: "replies reported", of: w => maybe(w.rows, count) },
  ];
  const FILES = [["capacity.json", "verdict"], ["requests.csv", "replies"], ["gaps.csv", "gaps"], ["users.csv", "users"], ["server.csv", "server"], ["run.json", "manifest"]];
  function runs() {
    const key = JSON.stringify(data.runs), list = $("runs");
    if (list.dataset.key === key) return; // unchanged: keep the links under the pointer
    list.dataset.key = key;
    if (!data.runs.length) { list.replaceChildren(html("li", "None yet.")); return; }
    list.replaceChildren(...data.runs.map(run => {
      const li = html("li");
      li.append(html("b", `Run ${run.number}`), html("span", `${run.scenario} · ${run.started_at.replace("T", " ").replace(/\.\d+Z/, " UTC")}`));
      const link = (name, text, kind) => { const a = html("a", text, kind); a.href = `runs/${run.number}/${name}`; return a; };
      if (run.report === "ready") { li.append(link("capacity.html", "Open the report", "open")); if (run.sentence) li.append(html("span", run.sentence)); }
      else li.append(html("span", { making: "Making the report …", failed: "The report could not be made.", none: run.state === "ended" ? "No report (--no-report)." : "The report is made after the run." }[run.report]));
      const files = html("span", "files: ", "files");
      for (const [name, text] of FILES) if (name !== "capacity.json" || run.report === "ready") files.append(link(name, text));
      li.append(files, html("code", run.directory));
      return li;
    }));
  }

  // Levels are numbers of users, or rates of an open stream.
  function nameLoad() {
    const byRate = Boolean(data.run) && data.run.load === "rate";
    Object.assign(LANES[0], byRate ? { name: "rate", unit: "requests/s" } : { name: "users", unit: "sending requests" });
    const head = byRate ? "requests/s" : "users";
    if (LEVELS[0].head !== head) { LEVELS[0].head = head; $("levels").tHead.replaceChildren(); }
  }

  function draw() {
    nameLoad();
    header(); share(); tiles(); charts();
    table("levels", LEVELS, data.levels.slice().reverse(), l => `${l.state}${l.t_end === null ? " present" : ""}`, "No levels yet: the number of users must stay constant for a few seconds.");
    table("workers", WORKERS, data.workers, w => gone(w) ? "lost" : "", "None yet.");
    runs();
  }

  // ── polling: a tab in the background is asked for less often, but its title stays current ──
  function showDisconnected(why) {
    failures += 1;
    setText("state", why);
    $("state").className = "badge lost";
  }
  async function poll() {
    if (paused) return;
    try {
      const answer = await fetch(`live.json?span=${span}`, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", headers: { Accept: "application/json" } });
      if (answer.redirected || !(answer.headers.get("Content-Type") || "").startsWith("application/json")) { showDisconnected("log in again in Locust's web UI"); return; }
      data = await answer.json();
      failures = 0;
      draw();
    } catch (error) {
      if (error instanceof TypeError || error.name === "TimeoutError" || error.name === "AbortError") showDisconnected("connection lost, retrying"); else throw error;
    }
  }
  async function pollAgain() {
    try { await poll(); } finally { setTimeout(pollAgain, Math.max(document.hidden ? HIDDEN_POLL_MS : 0, Math.min(10 * POLL_MS, POLL_MS * 2 ** Math.min(failures, 4)))); }
  }
  const choose = chosen => () => {
    span = chosen;
    for (const id of ["recent", "whole"]) $(id).setAttribute("aria-pressed", String(id === chosen));
    clearPointer(); poll();
  };
  $("recent").addEventListener("click", choose("recent"));
  $("whole").addEventListener("click", choose("whole"));
  $("pause").addEventListener("click", () => { paused = !paused; $("pause").setAttribute("aria-pressed", String(paused)); setText("pause", paused ? "resume" : "pause"); poll(); });
  document.addEventListener("visibilitychange", poll);
  addEventListener("resize", () => { if (data) charts(); });
  pollAgain();
})();
