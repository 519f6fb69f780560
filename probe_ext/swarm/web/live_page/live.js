"use strict";
// Asks for the figures once a second and draws them. Everything that comes from outside is put in as text, never as HTML.
(() => {
  const $ = id => document.getElementById(id);
  const KINDS = ["served", "strained", "broken", "undecided", "unheard"];
  const SVG = "http://www.w3.org/2000/svg", EVERY = 1000, GIVE_UP = 15000;
  let span = "recent", paused = false, data = null, at = null, said = "", saidAt = -Infinity, failures = 0;

  // ── words ──
  const known = v => v !== null && v !== undefined;
  const digits = v => v.toLocaleString("en", v < 1 ? { maximumFractionDigits: 2, minimumFractionDigits: 2 } : { maximumFractionDigits: v < 10 ? 1 : 0 });
  const count = v => Math.round(v).toLocaleString("en");
  const percent = v => (v * 100).toFixed(0);
  const ms = v => v < .0995 ? (v * 1000).toLocaleString("en", { maximumSignificantDigits: 2 }) + " ms" : digits(v) + " s";
  const clock = s => {
    const r = Math.max(0, Math.round(s)), h = Math.floor(r / 3600), m = Math.floor(r % 3600 / 60), two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(r % 60)}` : `${m}:${two(r % 60)}`;
  };
  const made = (tag, text, kind) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (kind) e.className = kind;
    return e;
  };
  const shape = (tag, attributes, text) => {
    const e = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

  // ── the head ──
  const STATES = { idle: "no run", preparing: "getting ready", running: "running", ending: "ending", ended: "over" };
  function head() {
    const run = data.run, now = data.now, state = $("state"), facts = state.parentNode;
    const time = now && data.state === "running" ? " " + clock(now.t) : "";
    put("state", STATES[data.state] + time);
    state.className = "badge " + data.state;
    const told = run ? [run.model, run.host, "profile: " + run.profile, `run ${run.number} · ${run.scenario}`] : [];
    if (run && run.search) told.push("searching for the boundary");
    if (run && run.levels) told.push("levels: " + run.levels.join(", "));
    const wanted = told.filter(known).join("\n");
    if (facts.dataset.said !== wanted) {
      facts.dataset.said = wanted;
      facts.querySelectorAll(".told").forEach(e => e.remove());
      for (const text of wanted.split("\n")) if (text) facts.insertBefore(made("li", text, "told"), facts.lastElementChild);
    }
    put("number", data.said.number);
    $("number").className = data.said.tone;
    put("headline", data.said.headline);
    put("below", data.said.below);
    const trouble = run && data.state !== "ended" ? run.problems.join(" ") : "";
    put("trouble", trouble);
    $("trouble").hidden = !trouble;
    $("report").hidden = data.state !== "ended" || !data.runs.length || data.runs[0].report !== "ready";
    document.title = `${data.said.number}${data.said.headline} – live view`;
    announce();
  }

  // A screen reader hears what changes the picture, not every second: a state, a level, its verdict; at most every ten seconds.
  function announce() {
    const level = data.levels[data.levels.length - 1], present = level && level.t_end === null;
    const key = [data.state, data.now && data.now.users, present && level.state, data.said.headline.startsWith(" ") ? "" : data.said.headline].join("|");
    if (key === said || performance.now() - saidAt < 10000) return;
    said = key; saidAt = performance.now();
    put("news", `${data.said.number}${data.said.headline} ${data.said.below}`);
  }

  // ── now ──
  function share() {
    const now = data.now, parts = now ? KINDS.map(kind => [kind, now["users_" + kind]]) : [], box = $("share");
    const all = parts.reduce((sum, [, n]) => sum + n, 0);
    const svg = shape("svg", { width: "100%", height: 46, "aria-hidden": "true" });
    let x = 0;
    for (const [kind, n] of parts) {
      if (!n) continue;
      const width = n / all * 100, where = { x: x + "%", width: width + "%", height: 46 };
      svg.append(shape("rect", { class: kind, ...where }), shape("rect", { class: "over " + kind, ...where }));
      if (width > 5) svg.append(shape("text", { class: "inb on-" + kind, x: x + width / 2 + "%", y: 28, "text-anchor": "middle" }, count(n)));
      x += width;
    }
    box.replaceChildren(svg);
    box.setAttribute("aria-label", all ? "Users now: " + parts.map(([kind, n]) => `${count(n)} ${kind}`).join(", ") : "No users");
    $("legend").replaceChildren(...parts.map(([kind, n]) => {
      const li = made("li"), key = shape("svg", { width: 14, height: 14, "aria-hidden": "true" });
      key.append(shape("rect", { class: kind, width: 14, height: 14, rx: 2 }), shape("rect", { class: "over " + kind, width: 14, height: 14, rx: 2 }));
      li.append(key, kind + " ", made("b", count(n)));
      return li;
    }));
  }

  const over = (v, served, strained) => !known(v) || !known(served) ? "" : v > strained ? "b" : v > served ? "m" : "";
  const under = (v, served, strained) => !known(v) || !known(served) ? "" : v < strained ? "b" : v < served ? "m" : "";
  const WORD = { "": "", m: "strained", b: "broken" };
  function tiles() {
    const n = data.now, b = data.bounds, list = [];
    const tile = (name, value, unit, below, kind = "") => list.push({ name, value, unit, below, kind });
    if (n) {
      const wait = over(n.ttft_p95, b.first_word_served, b.first_word_strained), speed = under(n.decode_rate_p50, b.typing_served, b.typing_strained);
      const pause = over(n.longest_gap_max, b.silence_served, b.silence_strained), full = known(n.kv_usage) && n.kv_usage >= .95 ? "m" : "";
      const flight = data.workers.reduce((sum, w) => sum + (w.in_flight || 0), 0), still = known(n.last_reply) ? n.t - n.last_reply : null;
      tile("TTFT p95", known(n.ttft_p95) ? digits(n.ttft_p95) : "–", "s", known(n.ttft_p50) ? `p50: ${ms(n.ttft_p50)}` : "no reply yet", wait);
      tile("decode rate", known(n.decode_rate_p50) ? digits(n.decode_rate_p50) : "–", "tok/s", known(n.decode_rate_p05) ? `p50; p05: ${digits(n.decode_rate_p05)}` : "", speed);
      tile("longest silence", known(n.longest_gap_max) ? digits(n.longest_gap_max) : "–", "s", WORD[pause], pause);
      tile("tokens/s in all", known(n.tokens_per_s) ? count(n.tokens_per_s) : "–", "", "");
      tile("KV cache", known(n.kv_usage) ? percent(n.kv_usage) : "–", known(n.kv_usage) ? "%" : "", full ? "on the edge of full" : known(n.kv_usage) ? "" : "not told", full);
      tile("on the server", known(n.running) || known(n.waiting) ? `${known(n.running) ? count(n.running) : "–"} · ${known(n.waiting) ? count(n.waiting) : "–"}` : "–", "", "run · wait", n.waiting > 0 ? "m" : "");
      tile("preemptions", known(n.preemptions) ? count(n.preemptions) : "–", "", known(n.preemptions) ? "in this run" : "not told", n.preemptions > 0 ? "m" : "");
      tile("replies", count(n.replies), "", `${count(flight)} in flight` + (data.state === "running" && still > 5 ? `, none ended for ${Math.round(still)} s` : ""));
      const ours = data.workers.filter(w => w.id !== "master"), away = ours.filter(gone).length, worst = key => Math.max(...data.workers.map(w => w[key]).filter(known));
      const cpu = worst("cpu"), lag = worst("receive_lag_max"), lags = data.workers.some(late), full_core = data.workers.some(busy);
      tile("load generators", isFinite(cpu) ? percent(cpu) : count(ours.length), isFinite(cpu) ? "% CPU" : "", away ? `${count(away)} of ${count(ours.length)} lost` : (lags ? "too late: " : "") + (isFinite(lag) ? `lag ${ms(lag)}` : ""), away || lags || full_core ? "b" : "");
      tile("failed", count(n.failed), "", n.failed ? `${count(n.window_failed)} in the window` : "", n.window_failed ? "b" : n.failed ? "m" : "");
    }
    $("tiles").replaceChildren(...list.map(({ name, value, unit, below, kind }) => {
      const div = made("div", undefined, kind), dd = made("dd", value);
      if (unit) dd.append(made("small", unit));
      div.append(made("dt", name), dd, made("dd", below || "\u00a0"));
      return div;
    }));
    put("window", n ? `Over the ${count(n.window_replies)} replies that ended in the ${data.state === "ended" ? "run's " : ""}last ${Math.round(n.window_s)} s; a reply is known when it has ended.` : "");
  }

  // ── the charts ──
  const LANES = [
    { key: "users", name: "users", unit: "by what they feel", height: 110, stack: KINDS.map(k => "users_" + k), lines: [["users", "count"]] },
    { key: "ttft", name: "first word", unit: "s, p95; thin: p50", height: 76, lines: [["ttft_p95", ""], ["ttft_p50", "thin"]], bounds: ["first_word_served", "first_word_strained"], of: " s", say: ms },
    { key: "rate", name: "typing speed", unit: "tokens/s, p50; thin: p05", height: 76, lines: [["decode_rate_p50", ""], ["decode_rate_p05", "thin"]], bounds: ["typing_served", "typing_strained"], of: "/s", say: digits },
    { key: "silence", name: "longest silence", unit: "s, in mid-reply", height: 62, lines: [["longest_gap_max", ""]], bounds: ["silence_served", "silence_strained"], of: " s", say: ms },
    { key: "kv", name: "KV cache", unit: "% used; red: preempted", height: 62, area: "kv_usage", top: 1, scale: 100, marks: "preemptions", say: v => percent(v) + " %" },
    { key: "queue", name: "on the server", unit: "running; dashed: waiting", height: 62, lines: [["running", ""], ["waiting", "waiting"]], say: count },
  ];
  const NAMES = { users: "users", users_served: "served", users_strained: "strained", users_broken: "broken", users_undecided: "undecided", users_unheard: "unheard", ttft_p50: "TTFT p50", ttft_p95: "TTFT p95", decode_rate_p50: "decode rate p50", decode_rate_p05: "decode rate p05", longest_gap_max: "longest silence", kv_usage: "KV", running: "running", waiting: "waiting", preemptions: "preempted", failed: "failed" };
  const SAY = { ttft_p50: ms, ttft_p95: ms, decode_rate_p50: v => digits(v) + "/s", decode_rate_p05: v => digits(v) + "/s", longest_gap_max: ms, kv_usage: v => percent(v) + " %" };

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
    const there = [...t.keys()].filter(i => high[i] > low[i] || high[i - 1] > low[i - 1] || high[i + 1] > low[i + 1]);
    let d = "", run = [];
    const close = () => {
      if (run.length < 2) { run = []; return; }
      d += "M" + run.map(i => `${X(t[i], box).toFixed(1)} ${(100 - high[i] / top * 100).toFixed(2)}`).join("L");
      d += "L" + run.reverse().map(i => `${X(t[i], box).toFixed(1)} ${(100 - low[i] / top * 100).toFixed(2)}`).join("L") + "Z";
      run = [];
    };
    for (const i of there) { if (run.length && i !== run[run.length - 1] + 1) close(); run.push(i); }
    close();
    return d;
  }

  function lane(spec) {
    const h = data.history, t = h.t, box = view(), row = made("div", undefined, "lane"), name = made("div", spec.name, "name");
    name.append(made("span", spec.unit));
    row.append(name);
    const columns = [...(spec.stack || []), ...(spec.lines || []).map(l => l[0]), ...(spec.area ? [spec.area] : [])];
    const values = columns.flatMap(c => h[c] || []).filter(known);
    if (!values.length) {
      const why = ["kv", "queue"].includes(spec.key) ? (data.run && !data.run.metrics ? "the server's metrics are not read" : "the server has not told") : "nothing measured yet";
      row.append(made("p", "– " + why, "absent"));
      return row;
    }
    const sums = spec.stack ? t.map((_, i) => spec.stack.reduce((s, c) => s + (h[c][i] || 0), 0)) : values;
    const bound = (spec.bounds || []).map(b => data.bounds[b]).filter(known);
    const peak = Math.max(...sums, ...values, 1e-9);
    const top = spec.top || nice(Math.max(peak * 1.05, bound.length && peak > bound[0] * .3 ? bound[0] * 1.1 : 0));
    const latest = columns.map(c => { const v = (h[c] || []).filter(known).pop(); return known(v) ? `${NAMES[c]} ${(SAY[c] || count)(v)}` : ""; }).filter(Boolean).join(", ");
    const svg = shape("svg", { class: "plot", width: "100%", height: spec.height, role: "img", "aria-label": `${spec.name}: latest ${latest}` });
    for (const f of [0, .5, 1]) {
      svg.append(shape("line", { class: "grid", x1: 0, x2: "100%", y1: `${100 - f * 100}%`, y2: `${100 - f * 100}%` }));
      const v = top * f * (spec.scale || 1);
      svg.append(shape("text", { x: -8, y: `${100 - f * 100}%`, dy: 4, "text-anchor": "end" }, v === 0 ? "0" : v >= 1000 ? count(v) : String(+v.toPrecision(2))));
    }
    const inner = shape("svg", { class: "inner", width: "100%", height: "100%", viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
    svg.append(inner);
    if (spec.stack) {
      let low = t.map(() => 0);
      spec.stack.forEach((column, k) => {
        const high = low.map((v, i) => v + (h[column][i] || 0)), d = band(t, low, high, box, top);
        if (d) {
          inner.append(shape("path", { class: KINDS[k], d }));
          if (KINDS[k] === "strained" || KINDS[k] === "broken") inner.append(shape("path", { class: "over " + KINDS[k], d }));
        }
        low = high;
      });
    }
    if (spec.area) {
      const v = h[spec.area], zero = v.map(() => 0);
      inner.append(shape("path", { class: "area", d: band(t, zero, v.map(x => x || 0), box, top) }), shape("path", { class: "ln", d: path(t, v, box, top) }));
    }
    for (const [column, kind] of (spec.lines || []).slice().reverse()) inner.append(shape("path", { class: "ln " + kind, d: path(t, h[column], box, top) }));
    for (const [k, value] of bound.entries()) if (value <= top) {
      const crowded = k && Math.abs(value - bound[0]) / top * spec.height < 14, y = 100 - value / top * 100 + "%";
      svg.append(shape("line", { class: "thr", x1: 0, x2: "100%", y1: y, y2: y }), shape("text", { class: "thrlab", x: "100%", y, dx: 6, dy: 4 }, crowded ? "" : value + spec.of));
    }
    if (spec.marks) {
      const d = t.map((moment, i) => h[spec.marks][i] ? `M${X(moment, box).toFixed(1)} 0V34` : "").join("");
      if (d) inner.append(shape("path", { class: "tick", d }));
    }
    const taken = bound.map(b => spec.height * (1 - b / top)), ends = spec.stack ? [["users", ""]] : spec.area ? [[spec.area, ""]] : spec.lines;
    for (const [column, kind] of ends) {
      const v = h[column].filter(known).pop(), y = spec.height * (1 - v / top);
      if (!known(v) || taken.some(other => Math.abs(other - y) < 13)) continue;
      taken.push(y);
      svg.append(shape("text", { class: "lab " + kind, x: "100%", y, dx: 6, dy: 4 }, (spec.say || count)(v)));
    }
    const frame = made("div", undefined, "frame");
    frame.append(svg);
    row.append(frame);
    return row;
  }

  function axis() {
    const [from, to] = view(), svg = shape("svg", { width: "100%", height: 18, "aria-hidden": "true" }), row = made("div", undefined, "lane"), frame = made("div", undefined, "frame");
    const most = Math.max(3, Math.min(8, $("lanes").clientWidth / 130));
    const step = [10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200].find(s => (to - from) / s <= most) || 86400;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) svg.append(shape("text", { x: (t - from) / (to - from) * 100 + "%", dy: 12, "text-anchor": "middle" }, clock(t)));
    frame.append(svg);
    const name = made("div", "time", "name");
    name.append(made("span", "since the run began"));
    row.append(name, frame);
    return row;
  }

  function charts() {
    const lanes = $("lanes"), cross = made("div", undefined, "cross");
    lanes.replaceChildren(...LANES.map(lane), axis(), cross);
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
    out.replaceChildren("at ", made("b", clock(h.t[i])));
    for (const [column, name] of Object.entries(NAMES)) {
      const v = (h[column] || [])[i];
      if (!known(v) || (!v && /undecided|unheard|broken|strained|preempted|failed/.test(name))) continue;
      out.append(`  · ${name} `, made("b", (SAY[column] || count)(v)));
    }
  }
  const moment = x => { const r = plot(), [from, to] = view(); return r ? from + (x - r.left) / r.width * (to - from) : 0; };
  const lanes = $("lanes");
  lanes.addEventListener("pointermove", e => { $("readout").removeAttribute("aria-live"); if (data) point(moment(e.clientX)); });
  lanes.addEventListener("pointerleave", unpoint);
  lanes.addEventListener("keydown", e => {
    if (!data || !data.history.t.length) return;
    const last = data.history.t[data.history.t.length - 1], [from, to] = view(), step = Math.max(data.history.step, (to - from) / 60);
    const where = { ArrowLeft: () => (at ?? last) - step, ArrowRight: () => (at ?? last) + step, Home: () => from, End: () => last }[e.key];
    if (e.key === "Escape") unpoint();
    if (!where) return;
    e.preventDefault();
    $("readout").setAttribute("aria-live", "polite");
    point(where());
  });
  function unpoint() { at = null; const cross = lanes.querySelector(".cross"); if (cross) cross.style.display = "none"; }

  // ── the tables ──
  function table(id, columns, rows, kind, empty) {
    const body = $(id).tBodies[0], head = $(id).tHead;
    if (!head.rows.length) {
      const tr = head.insertRow();
      for (const c of columns) { const th = made("th", c.head, c.text ? "text" : ""); th.scope = "col"; if (c.unit) th.append(made("span", c.unit)); tr.append(th); }
    }
    body.replaceChildren(...rows.map(row => {
      const tr = made("tr", undefined, kind(row));
      columns.forEach((c, k) => {
        const value = c.of(row), td = made(k ? "td" : "th", known(value) ? String(value) : "–", `${c.text ? "text " : ""}${c.kind || ""}${known(value) && value !== "" ? "" : " none"}${c.warn && c.warn(row) ? " warn" : ""}`);
        if (!k) td.scope = "row";
        if (c.whole) td.title = c.whole(row);
        tr.append(td);
      });
      return tr;
    }));
    if (!rows.length) { const tr = body.insertRow(), td = tr.insertCell(); td.colSpan = columns.length; td.className = "text none"; td.textContent = empty; }
  }
  const maybe = (v, say) => known(v) ? say(v) : null;
  const CAUSES = { first_word: "the wait for the first word", typing: "typing speed", silence: "silent pauses", answer: "failed or late answers" };
  const LEVELS = [
    { head: "users", of: l => count(l.users) },
    { head: "so far", text: true, kind: "state", of: l => ({ held: l.t_end === null ? "holds" : "held", failed: l.t_end === null ? "fails" : "failed", unproven: "unproven" })[l.state] },
    { head: "because of", text: true, of: l => l.state === "failed" ? l.why.map(w => CAUSES[w] || w).join(", ") : "" },
    { head: "served", of: l => count(l.users_served) }, { head: "strained", of: l => count(l.users_strained) }, { head: "broken", of: l => count(l.users_broken) },
    { head: "undecided", of: l => count(l.users_undecided) }, { head: "unheard", of: l => count(l.users_unheard) },
    { head: "measured", of: l => clock((l.t_end ?? data.now.t) - l.t_start) }, { head: "replies", of: l => count(l.replies) },
    { head: "TTFT p95", of: l => maybe(l.ttft_p95, ms) }, { head: "decode rate", unit: "p50, tok/s", of: l => maybe(l.decode_rate_p50, digits) },
    { head: "longest", unit: "silence", of: l => maybe(l.longest_gap_max, ms) }, { head: "KV", unit: "peak", of: l => maybe(l.kv_usage_max, v => percent(v) + " %") },
    { head: "preempted", of: l => maybe(l.preemptions, count) },
  ];
  const BUSY = .9, LATE = .25; // of a core; seconds
  const gone = w => w.state === "lost" || w.state === "missing", busy = w => w.cpu > BUSY, late = w => w.receive_lag_max > LATE;
  const WORKERS = [
    { head: "process", text: true, of: w => w.id.replace(/^(.*_[0-9a-f]{6})[0-9a-f]{26}$/, "$1…"), whole: w => w.id },
    { head: "state", text: true, kind: "state", of: w => w.state },
    { head: "CPU", unit: "of one core", of: w => maybe(w.cpu, v => percent(v) + " %"), warn: busy },
    { head: "receive lag", unit: "worst in the window", of: w => maybe(w.receive_lag_max, ms), warn: late },
    { head: "loop lag", unit: "worst in the run", of: w => maybe(w.loop_lag_max, ms) },
    { head: "clock", unit: "±", of: w => maybe(w.clock_error, v => v === 0 ? "same" : ms(v)) },
    { head: "users", of: w => maybe(w.users, count) }, { head: "in flight", of: w => maybe(w.in_flight, count) },
    { head: "replies told", of: w => maybe(w.rows, count) },
  ];
  const FILES = [["capacity.json", "verdict"], ["requests.csv", "replies"], ["gaps.csv", "gaps"], ["users.csv", "users"], ["server.csv", "server"], ["run.json", "manifest"]];
  function runs() {
    const key = JSON.stringify(data.runs), list = $("runs");
    if (list.dataset.key === key) return; // links that somebody is about to follow stay where they are
    list.dataset.key = key;
    if (!data.runs.length) { list.replaceChildren(made("li", "None yet.")); return; }
    list.replaceChildren(...data.runs.map(run => {
      const li = made("li");
      li.append(made("b", `Run ${run.number}`), made("span", `${run.scenario} · ${run.started_at.replace("T", " ").replace(/\.\d+Z/, " UTC")}`));
      const link = (name, text, kind) => { const a = made("a", text, kind); a.href = `runs/${run.number}/${name}`; return a; };
      if (run.report === "ready") { li.append(link("capacity.html", "Open the report", "open")); if (run.sentence) li.append(made("span", run.sentence)); }
      else li.append(made("span", { making: "The report is being made …", failed: "The report could not be made.", none: run.state === "ended" ? "No report was asked for." : "The report comes when the run is over." }[run.report]));
      const files = made("span", "files: ", "files");
      for (const [name, text] of FILES) if (name !== "capacity.json" || run.report === "ready") files.append(link(name, text));
      li.append(files, made("code", run.directory));
      return li;
    }));
  }

  function draw() {
    head(); share(); tiles(); charts();
    table("levels", LEVELS, data.levels.slice().reverse(), l => `${l.state}${l.t_end === null ? " present" : ""}`, "No level yet: a number of users must stand still for a few seconds.");
    table("workers", WORKERS, data.workers, w => gone(w) ? "lost" : "", "None yet.");
    runs();
  }

  // ── asking ──
  function lost(why) {
    failures += 1;
    put("state", why);
    $("state").className = "badge lost";
  }
  async function ask() {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(`live.json?span=${span}`, { signal: AbortSignal.timeout(GIVE_UP), cache: "no-store", headers: { Accept: "application/json" } });
      if (answer.redirected || !(answer.headers.get("Content-Type") || "").startsWith("application/json")) { lost("please log in again, in Locust's web UI"); return; }
      data = await answer.json();
      failures = 0;
      draw();
    } catch (error) {
      if (error instanceof TypeError || error.name === "TimeoutError" || error.name === "AbortError") lost("connection lost, trying again"); else throw error;
    }
  }
  async function keep() {
    try { await ask(); } finally { setTimeout(keep, Math.min(10 * EVERY, EVERY * 2 ** Math.min(failures, 4))); }
  }
  const choose = chosen => () => {
    span = chosen;
    for (const id of ["recent", "whole"]) $(id).setAttribute("aria-pressed", String(id === chosen));
    unpoint(); ask();
  };
  $("recent").addEventListener("click", choose("recent"));
  $("whole").addEventListener("click", choose("whole"));
  $("pause").addEventListener("click", () => { paused = !paused; $("pause").setAttribute("aria-pressed", String(paused)); put("pause", paused ? "go on" : "pause"); ask(); });
  document.addEventListener("visibilitychange", ask);
  addEventListener("resize", () => { if (data) charts(); });
  keep();
})();
