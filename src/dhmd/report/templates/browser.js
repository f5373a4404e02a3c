
/* The browser of samples. Text is only ever set as text. */
function startBrowser() {
  const place = document.getElementById("browser");
  if (!place) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const size = 10;
  let page = 0;
  let chosen = null;

  const make = (name, text, kind) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const run = () => data.runs[at("run").value];
  const textOf = (sample) => (data.texts[run().texts] || {})[sample.id] || "";
  const number = (value) => (value === null ? "–" : String(value).replace("-", "−"));
  const error = (s) => Math.abs(s.prediction - s.label);
  const wrong = (s) =>
    run().task === "regression" ? s.label !== 0 && s.label > 0 !== s.prediction > 0 : s.label !== s.prediction;

  function found() {
    const words = at("find").value.trim().toLowerCase();
    const which = at("which").value;
    const kept = run().samples.filter(
      (s) =>
        (!words || s.id.toLowerCase().includes(words) || textOf(s).toLowerCase().includes(words)) &&
        (which === "all" || wrong(s) === (which === "wrong"))
    );
    if (at("order").value === "error") kept.sort((a, b) => error(b) - error(a));
    if (at("order").value === "label") kept.sort((a, b) => a.label - b.label);
    return kept;
  }

  function draw() {
    const kept = found();
    const pages = Math.max(1, Math.ceil(kept.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    at("count").textContent = `${kept.length} of ${run().samples.length} samples`;
    at("page").textContent = `page ${page + 1} of ${pages}`;
    at("before").disabled = page === 0;
    at("after").disabled = page === pages - 1;
    const shown = kept.slice(page * size, (page + 1) * size);
    at("rows").replaceChildren(...shown.map(row));
    if (!shown.some((s) => s.id === chosen)) show(shown[0]);
    else show(shown.find((s) => s.id === chosen));
  }

  function row(sample) {
    const line = make("tr");
    const head = make("th");
    head.scope = "row";
    const button = make("button", sample.id);
    button.type = "button";
    button.dataset.id = sample.id;
    const text = textOf(sample);
    if (text) button.append(make("small", text.length > 80 ? `${text.slice(0, 79)}…` : text));
    button.addEventListener("click", () => show(sample));
    head.append(button);
    line.append(head, make("td", number(sample.label), "num"), make("td", number(sample.prediction), wrong(sample) ? "num wrong" : "num"));
    return line;
  }

  function show(sample) {
    chosen = sample ? sample.id : null;
    document.querySelectorAll("#rows button").forEach((button) => {
      if (button.dataset.id === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (!sample) {
      at("sample").replaceChildren(make("p", "No sample fits."));
      return;
    }
    const parts = [make("h3", sample.id)];
    const text = textOf(sample);
    if (text) parts.push(make("blockquote", text));
    const said = make("p", `label ${number(sample.label)}, prediction ${number(sample.prediction)}`);
    if (wrong(sample)) said.append(" ", make("span", run().task === "regression" ? "wrong sign" : "wrong class", "wrong"));
    parts.push(said);
    if (sample.scores) parts.push(make("p", `scores ${sample.scores.map(number).join(", ")}`, "hint"));
    Object.entries(sample.edges).forEach(([space, weights]) => parts.push(...edges(space, weights)));
    Object.entries(sample.entries).forEach(([space, by]) => parts.push(...entries(space, by)));
    at("sample").replaceChildren(...parts);
  }

  function edges(space, weights) {
    const about = run().spaces[space];
    const list = make("div", undefined, "weights");
    const most = Math.max(...weights, ...(about.prior || []), 0.001);
    weights.forEach((weight, i) => {
      const track = make("span", undefined, "track");
      const bar = make("i");
      bar.style.width = `${(100 * weight) / most}%`;
      track.append(bar);
      if (about.prior) {
        const mark = make("b");
        mark.style.left = `calc(${(100 * about.prior[i]) / most}% - 1px)`;
        mark.title = `prior ${about.prior[i]}`;
        track.append(mark);
      }
      list.append(make("span", about.pairs[i]), track, make("span", weight.toFixed(3)));
    });
    return [make("h4", `Edges, ${space} space${about.prior ? " (black line: the prior)" : ""}`), list];
  }

  function entries(space, by) {
    const parts = [make("h4", `Active entries, ${space} space`)];
    Object.entries(by).forEach(([modality, top]) => {
      const list = make("div", undefined, "chips");
      list.append(make("strong", modality));
      top.forEach(([entry, value]) => list.append(make("span", `${entry}: ${value}`)));
      if (!top.length) list.append("none");
      parts.push(list);
    });
    return parts;
  }

  at("rows").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...document.querySelectorAll("#rows button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.focus();
      next.click();
    }
  });
  const again = () => {
    page = 0;
    draw();
  };
  at("find").addEventListener("input", again);
  at("which").addEventListener("change", again);
  at("order").addEventListener("change", again);
  at("run").addEventListener("change", draw);
  at("before").addEventListener("click", () => {
    page -= 1;
    draw();
  });
  at("after").addEventListener("click", () => {
    page += 1;
    draw();
  });
  place.hidden = false;
  draw();
}

document.addEventListener("DOMContentLoaded", startBrowser);
