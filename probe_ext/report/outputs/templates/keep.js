// Copying of texts, and saving of pictures as SVG or PNG. A picture is what the page shows: charts and the text around them.
(() => {
  const SVG = "http://www.w3.org/2000/svg", MARGIN = 16, PNG_SCALE = 2;
  const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-family", "font-size", "font-weight", "paint-order", "overflow", "display", "vector-effect"];
  const LEFT_OUT = ".save,.sr,.read,.cross,.sel,.tip,button,svg";

  function copyByHand(text) { // where the clipboard is not allowed, as in a sandbox
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text; area.className = "sr";
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  for (const button of document.querySelectorAll("button.copy")) {
    const name = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent.trim().replace(/\s+/g, " ");
      let done;
      try { await navigator.clipboard.writeText(text); done = true; } catch { done = copyByHand(text); }
      button.focus();
      button.textContent = done ? "Copied" : "Not copied: select it by hand";
      setTimeout(() => { button.textContent = name; }, 2000);
    });
  }

  const make = (tag, attributes) => {
    const e = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    return e;
  };
  function styled(original) {
    const copy = original.cloneNode(true), from = [original, ...original.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((e, i) => {
      const style = getComputedStyle(e);
      for (const name of STYLES) if (style.getPropertyValue(name)) to[i].style.setProperty(name, style.getPropertyValue(name));
      for (const { name } of [...to[i].attributes]) if (/^(class|role|aria-|data-|tabindex)/.test(name)) to[i].removeAttribute(name);
    });
    return copy;
  }
  function lines(node) { // words of a text node by the line that the page breaks them into
    const found = [], range = document.createRange();
    for (const word of node.data.matchAll(/\S+/g)) {
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      const box = range.getBoundingClientRect(), last = found[found.length - 1];
      if (!box.width) continue;
      if (last && Math.abs(last.box.top - box.top) < 2) last.text += " " + word[0]; else found.push({ text: word[0], box });
    }
    return found;
  }
  function texts(place, at) {
    const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT), made = [];
    while (walker.nextNode()) {
      const node = walker.currentNode, parent = node.parentElement;
      if (parent.closest(LEFT_OUT) || !parent.checkVisibility()) continue;
      const style = getComputedStyle(parent), size = parseFloat(style.fontSize);
      for (const { text, box } of lines(node)) {
        const e = make("text", { x: box.left - at.left, y: box.top - at.top + box.height / 2 + size * .35, "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight, fill: style.color });
        e.textContent = text;
        made.push(e);
      }
    }
    return made;
  }
  function picture(place) {
    const box = place.getBoundingClientRect(), at = { left: box.left - MARGIN, top: box.top - MARGIN };
    const width = Math.ceil(box.width) + 2 * MARGIN + 40, height = Math.ceil(box.height) + 2 * MARGIN; // labels stand out at the right
    const whole = make("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
    const defs = document.querySelector("svg.defs defs");
    whole.append(make("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor }), styled(defs), ...texts(place, at));
    for (const chart of place.querySelectorAll("svg")) {
      if (chart.parentElement.closest("svg") || !chart.checkVisibility()) continue;
      const own = chart.getBoundingClientRect(), copy = styled(chart);
      for (const [name, value] of Object.entries({ x: own.left - at.left, y: own.top - at.top, width: own.width, height: own.height })) copy.setAttribute(name, value);
      copy.style.overflow = "visible";
      whole.append(copy);
    }
    return { text: new XMLSerializer().serializeToString(whole), width, height };
  }
  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob); link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const titleOf = place => place.dataset.picture || place.getAttribute("aria-label") || place.querySelector("h2").textContent;
  const nameOf = place => titleOf(place).split(",")[0].toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40);
  const toSvg = place => save(new Blob([picture(place).text], { type: "image/svg+xml" }), `${nameOf(place)}.svg`);
  async function toPng(place) {
    const { text, width, height } = picture(place), image = new Image(), canvas = document.createElement("canvas");
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
    await image.decode();
    canvas.width = width * PNG_SCALE; canvas.height = height * PNG_SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(blob => save(blob, `${nameOf(place)}.png`), "image/png");
  }
  for (const place of document.querySelectorAll(".pic")) {
    const bar = document.createElement("div"), what = titleOf(place);
    bar.className = "save";
    bar.append("Save as ");
    for (const [name, act] of [["SVG", toSvg], ["PNG", toPng]]) {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = name; button.setAttribute("aria-label", `Save as ${name}: ${what}`);
      button.addEventListener("click", () => act(place));
      bar.append(button);
    }
    if (place.matches(".tw,.lanes")) place.after(bar); else place.append(bar);
  }
})();
