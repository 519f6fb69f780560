"use strict";
// The bar, the start form and two charts on Locust's page. Data is inserted as text, never as HTML.
(() => {
  const $ = id => document.getElementById(id), body = document.body, form = $("probe-form");
  const POLL_MS = 1500, HIDDEN_POLL_MS = 5000, TIMEOUT_MS = 15000, LONG = 90, STORED = `probe-form:${$("probe-start").dataset.token}`;
  const RUNNING = ["running", "ending"], known = v => v !== null && v !== undefined;
  let state = null, waiting = false, sending = false, announced = "";
  const setText = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
  const noRunYet = body.classList.contains("probe-form");

  // ── the form ──
  const mode = () => form.elements.probe_mode.value;
  function showMode() {
    form.querySelectorAll("[data-mode]").forEach(part => { part.hidden = part.dataset.mode !== mode(); });
    form.querySelector(".every-level").hidden = mode() === "hand";
  }
  const inputs = () => [...form.elements].filter(e => e.name && e.name !== "probe_mode");
  const valueOf = e => e.type === "checkbox" ? String(e.checked) : e.value;
  function keep() {
    try { sessionStorage.setItem(STORED, JSON.stringify(Object.fromEntries([["probe_mode", mode()], ...inputs().filter(e => e.type !== "password").map(e => [e.name, valueOf(e)])]))); } catch { /* storage is off: nothing is kept */ }
  }
  function restore() {
    let kept = {};
    try { kept = JSON.parse(sessionStorage.getItem(STORED)) || {}; } catch { /* as above */ }
    for (const e of inputs()) if (e.name in kept) { if (e.type === "checkbox") e.checked = kept[e.name] === "true"; else e.value = kept[e.name]; }
    const chosen = kept.probe_mode && form.querySelector(`[name=probe_mode][value="${CSS.escape(kept.probe_mode)}"]`);
    if (chosen) chosen.checked = true;
  }
  const MODE_FIELDS = { levels: "levels", rate: "rate" };
  function sent() {
    const data = new URLSearchParams();
    for (const e of inputs()) {
      const other = Object.entries(MODE_FIELDS).some(([name, field]) => field === e.name && name !== mode());
      data.set(e.name, other ? "" : valueOf(e).trim());
    }
    data.set("search", String(mode() === "search"));
    return data;
  }
  function clearErrors() {
    form.querySelectorAll("[aria-invalid]").forEach(e => e.removeAttribute("aria-invalid"));
    form.querySelectorAll(".error").forEach(e => { e.hidden = true; });
  }
  const fieldIn = text => inputs().map(e => e.name).find(name => name.includes("_") && text.includes(name));
  function refuse(message, field) {
    const input = form.elements[field || fieldIn(message) || ""], place = input && input.name && input.name !== "probe_mode" ? $(`e-${input.name}`) : null;
    const error = place && input.getClientRects ? place : $("probe-form-error");
    error.textContent = message;
    error.hidden = false;
    if (error !== place) { error.scrollIntoView({ block: "center" }); return; }
    input.setAttribute("aria-invalid", "true");
    for (let e = input.parentElement; e !== form; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (!input.getClientRects().length) { $("probe-form-error").textContent = message; $("probe-form-error").hidden = false; return; }
    input.focus();
  }
  const missing = () => mode() === "levels" && !form.elements.levels.value.trim() ? ["levels", "Name at least one number of users, e.g. 1,2,4,8."]
    : mode() === "rate" && !form.elements.rate.value.trim() ? ["rate", "Name at least one rate, e.g. 0.5,2,4."]
    : form.elements.host && !form.elements.host.value.trim() ? ["host", "Name the server to test, e.g. http://localhost:8000."] : null;
  function busy(on) {
    sending = on;
    $("probe-go").disabled = on;
    setText("probe-go", on ? "Checking the server …" : "Start");
  }
  async function start(event) {
    event.preventDefault();
    clearErrors();
    const gap = missing();
    if (gap) { refuse(gap[1], gap[0]); return; }
    keep();
    busy(true);
    try {
      const answer = await fetch("./swarm", { method: "POST", body: sent(), headers: { Accept: "application/json" } });
      const said = (answer.headers.get("Content-Type") || "").startsWith("application/json") ? await answer.json() : { success: false, message: answer.redirected ? "Log in again." : `The start was refused (HTTP ${answer.status}).` };
      if (said.success) waiting = true; else refuse(said.message, said.field);
    } catch (error) {
      refuse("Locust does not answer. Is it still running?");
    } finally {
      busy(false);
      poll();
    }
  }
  const showForm = on => { body.classList.toggle("probe-form", on); $("probe-back").hidden = !on || noRunYet; };

  // ── the bar ──
  function bar(data) {
    const ended = data.state === "ended" && data.runs.length > 0, run = data.runs[0], said = data.said, title = $("probe-sentence");
    const text = said.number + said.headline;
    if (title.textContent !== text) {
      const number = document.createElement("b");
      number.textContent = said.number;
      title.replaceChildren(number, said.headline);
    }
    title.firstChild.className = said.tone;
    title.className = text.length > LONG ? "long" : "";
    setText("probe-below", data.state === "idle" && !data.doing ? "Fill in the form and press Start." : said.below);
    $("probe-bar").className = `probe ${data.state}`;
    $("probe-report").hidden = !(ended && run.report === "ready");
    $("probe-files").hidden = !(ended && run.report === "ready");
    $("probe-cancel").hidden = data.state !== "preparing";
    const news = [data.state, ended ? run.report : "", ended ? text : ""].join("|");
    if (news !== announced) { announced = news; setText("probe-news", `${text} ${said.below}`); }
  }
  function follow(data) {
    const before = state;
    state = data.state;
    body.classList.toggle("probe-preparing", state === "preparing" && !sending);
    // Locust's page learns only of runs that it has started itself.
    const elsewhere = RUNNING.includes(state) && (waiting || body.classList.contains("probe-form") || (before !== null && !RUNNING.includes(before)));
    if (elsewhere) { location.reload(); return; }
    if (waiting && state !== "preparing" && data.doing) { waiting = false; showForm(true); refuse(data.doing); }
  }

  // ── the charts ──
  const SVG = "http://www.w3.org/2000/svg";
  const CHARTS = [
    { title: "TTFT (s)", about: "time to first token of recent replies: p95, thin p50", lines: [["ttft_p95", ""], ["ttft_p50", "thin"]], bound: "first_word_served" },
    { title: "Decode rate (tokens/s per reply)", about: "typing speed of recent replies: p50, thin p05", lines: [["decode_rate_p50", ""], ["decode_rate_p05", "thin"]], bound: "typing_served" },
  ];
  const element = (tag, attributes, text) => {
    const e = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const short = v => v >= 100 ? v.toFixed(0) : String(+v.toPrecision(2));
  const clock = s => `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}`;
  const nice = v => { const p = 10 ** Math.floor(Math.log10(v)); return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(f => f * p).find(c => c >= v * .999); };
  function chart(spec, data) {
    const box = document.createElement("div"), h = data.history, t = h.t || [], title = document.createElement("h2"), about = document.createElement("p");
    title.textContent = spec.title;
    about.textContent = spec.about;
    box.append(title, about);
    const values = spec.lines.flatMap(([column]) => h[column] || []).filter(known);
    if (!values.length) { about.textContent = `${spec.about}. No reply has ended yet.`; return box; }
    const bound = data.bounds[spec.bound], peak = Math.max(...values, 1e-9), top = nice(Math.max(peak * 1.05, known(bound) && peak > bound * .3 ? bound * 1.1 : 0));
    const from = t[0], to = Math.max(t[t.length - 1], from + 30), frame = document.createElement("div"), latest = (h[spec.lines[0][0]] || []).filter(known).pop();
    const svg = element("svg", { role: "img", "aria-label": `${spec.title}: latest ${short(latest ?? values[values.length - 1])}` });
    const inner = element("svg", { width: "100%", height: "100%", viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
    for (const f of [0, .25, .5, .75, 1]) {
      const y = `${100 - f * 100}%`;
      svg.append(element("line", { x1: 0, x2: "100%", y1: y, y2: y }), element("text", { x: -10, y, dy: 4, "text-anchor": "end" }, f ? short(top * f) : "0"));
    }
    for (const [column, kind] of spec.lines) {
      let d = "", on = false;
      (h[column] || []).forEach((v, i) => { if (known(v)) d += `${on ? "L" : "M"}${((t[i] - from) / (to - from) * 1000).toFixed(1)} ${(100 - v / top * 100).toFixed(2)}`; on = known(v); });
      inner.append(element("path", { class: kind, d }));
    }
    svg.append(inner);
    if (known(bound) && bound <= top) { const y = `${100 - bound / top * 100}%`; svg.append(element("line", { class: "bound", x1: 0, x2: "100%", y1: y, y2: y }), element("text", { class: "bound", x: "100%", y, dx: 6, dy: 4 }, short(bound))); }
    for (const f of [0, .5, 1]) svg.append(element("text", { x: `${f * 100}%`, y: "100%", dy: 18, "text-anchor": "middle" }, clock(from + (to - from) * f)));
    frame.className = "frame";
    frame.append(svg);
    box.append(frame);
    return box;
  }
  function charts(data) {
    const tab = document.querySelector('#root [role=tab][aria-selected="true"]'), place = $("probe-charts");
    const shown = Boolean(tab) && tab.textContent.trim() === "Charts" && Boolean(data.now);
    place.hidden = !shown;
    if (!shown) return;
    const list = tab.closest("main > * > *"); // the row of tabs; what follows it are Locust's charts
    if (list && list.nextElementSibling !== place) list.after(place);
    place.replaceChildren(...CHARTS.map(spec => chart(spec, data)));
  }

  // ── Locust's page ──
  function dress() {
    const [r, g, b, alpha = 1] = (getComputedStyle(body).backgroundColor.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    body.classList.toggle("probe-dark", alpha > 0 && r + g + b < 300); // transparent until Locust's script has run
    for (const [where, name] of [["header", "Light or dark colours"], ["main", "Choose columns"]]) // Locust leaves these nameless
      for (const e of document.querySelectorAll(`#root ${where} button:not([aria-label])`)) if (!e.textContent.trim()) e.setAttribute("aria-label", name);
  }
  let latest = null;
  async function poll() {
    dress();
    try {
      const answer = await fetch("./probe/live.json", { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", headers: { Accept: "application/json" } });
      if (answer.redirected || !(answer.headers.get("Content-Type") || "").startsWith("application/json")) { setText("probe-below", "Log in again."); return; }
      latest = await answer.json();
      bar(latest);
      follow(latest);
      charts(latest);
    } catch (error) {
      if (error instanceof TypeError || error.name === "TimeoutError" || error.name === "AbortError") setText("probe-below", "Connection lost, retrying."); else throw error;
    }
  }
  const pollAgain = async () => { try { await poll(); } finally { setTimeout(pollAgain, document.hidden ? HIDDEN_POLL_MS : POLL_MS); } };

  restore();
  showMode();
  showForm(noRunYet);
  form.addEventListener("input", () => { showMode(); keep(); });
  form.addEventListener("submit", start);
  $("probe-back").addEventListener("click", () => showForm(false));
  $("probe-cancel").addEventListener("click", () => fetch("./stop", { method: "POST" }));
  document.addEventListener("click", event => {
    const button = event.target.closest && event.target.closest("#root header button");
    if (button && button.textContent.trim().toLowerCase() === "new" && !body.classList.contains("probe-own")) { event.stopPropagation(); event.preventDefault(); showForm(true); }
    else requestAnimationFrame(() => { dress(); if (latest) charts(latest); });
  }, true);
  document.addEventListener("visibilitychange", poll);
  new MutationObserver(dress).observe($("root"), { childList: true, subtree: true });
  pollAgain();
})();
