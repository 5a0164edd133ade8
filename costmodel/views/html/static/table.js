// The table of layers.
const LAYER_HEADS = [
  ["name", "Layer"], ["index", "#", "n"], ["check", "Check"], ["kind", "Kind"], ["type", "Type"], ["input_shape", "Input"], ["output_shape", "Output"],
  ...Object.entries(DATA.measures).map(([key, measure]) => [key, measure.short, "n", measure]),
  ["receptive_field", "Rec. field", "n"],
];
const CHECKS = [["–", "traced only: no closed form"], ["✓", "derived twice, and equal"], ["✗", "trace and closed form differ"]];
const LAYERS = lazyTable(byId("layer-table"), (row) => (typeof row === "number" ? layerRow(row) : row.of ? moreRow(row.of) : foldRow(row)));
let heads = [], sorted = null; // the head that rows are sorted by, and the sign; null for the order of execution
function layerTable() {
  const table = byId("layer-table"), l = model().layers;
  heads = LAYER_HEADS.filter(([key, , , measure]) => key === "index" || measure || key in l);
  sorted = null;
  table.tHead.replaceChildren(element("tr", {}, ...heads.map(([key, name, kind, measure]) => {
    const head = measure?.noun ? element("span", {}, name, " ", element("small", {}, measure.noun)) : name;
    const button = element("button", { type: "button", title: measure?.means }, head);
    return element("th", { scope: "col", class: kind, "data-key": key, "aria-sort": key === "index" ? "ascending" : null }, button);
  })));
  applyFilter();
}
const layerRow = (i) => element("tr", {}, ...heads.map(([key, , , measure]) => (measure ? figureCell(key, model().layers.figures[key][i]) : layerCell(model().layers, key, i))));
function figureCell(key, value, bar = true) {
  const shown = key === state.quantity, measure = DATA.measures[key], exact = byId("layer-exact").checked;
  const text = value === null ? "" : exact ? grouped(value) : si(value, measure.noun && measure.symbol);
  const cell = element("td", { class: `n number${value === 0 ? " zero" : ""}${shown ? " shown" : ""}`, "data-key": key, title: value === null ? null : grouped(value) }, text);
  if (shown && bar) cell.style.setProperty("--w", `${((100 * value) / largest).toFixed(1)}%`);
  return cell;
}
function layerCell(l, key, i) {
  if (key === "name") return element("th", { scope: "row", title: l.name[i] }, l.name[i]);
  if (key === "index") return element("td", { class: "n shape" }, String(i + 1));
  const value = l[key][i];
  if (key === "kind") {
    const dot = element("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = kindColor(value);
    return element("td", {}, dot, value);
  }
  if (key === "check") return element("td", { class: value === 2 ? "tag differs" : value ? "" : "zero" }, CHECKS[value][0], element("span", { class: "sr" }, CHECKS[value][1]));
  if (key === "receptive_field") return element("td", { class: "n" }, value ? value.map((n) => n ?? "–").join("×") : "");
  return element("td", { class: key.endsWith("shape") ? "shape" : null }, value);
}

// Blocks that repeat are one row, which opens: first to the layers of one of them, then to those of all.
const end = (fold) => fold.start + fold.length * fold.times;
const within = (fold) => Array.from({ length: end(fold) - fold.start }, (_, i) => fold.start + i);
function foldRow(fold) {
  const l = model().layers, rows = within(fold), button = element("button", { type: "button", class: "fold", "aria-expanded": String(Boolean(fold.open)) }, fold.name);
  button.addEventListener("click", () => toggle(fold, fold.open ? 0 : 1));
  return element("tr", { class: "folded" }, ...heads.map(([key, , , measure]) => {
    if (key === "name") return element("th", { scope: "row", title: fold.name }, button);
    if (measure) return figureCell(key, measure.additive ? sum(rows.map((i) => l.figures[key][i])) : null, false);
    if (key === "type") return element("td", {}, fold.type);
    if (key === "index") return element("td", { class: "n shape" }, `${fold.start + 1}–${end(fold)}`);
    if (key === "check") {
      const agree = rows.filter((i) => l.check[i] === 1).length, differs = rows.find((i) => l.check[i] === 2);
      if (differs !== undefined || agree === rows.length) return layerCell(l, key, differs ?? rows[0]);
      return element("td", { title: `${agree} of ${rows.length} layers derived twice, and equal` }, agree ? `${agree} ✓` : "–");
    }
    // What goes in is the first one's, what comes out and what is seen the last one's.
    return key === "kind" ? element("td", {}) : layerCell(l, key, key === "input_shape" ? rows[0] : rows[rows.length - 1]);
  }));
}
function moreRow(fold) {
  const button = element("button", { type: "button", class: "fold", "aria-expanded": "false" }, `${fold.times - 1} more, alike`);
  button.addEventListener("click", () => toggle(fold, 2));
  return element("tr", { class: "folded" }, element("th", { scope: "row" }, button), element("td", { colspan: heads.length - 1 }));
}
function toggle(fold, open) {
  fold.open = open;
  applyFilter();
  LAYERS.focus((row) => row === fold);
}
function listed(from, to, folds, rows = []) {
  let i = from;
  for (const fold of folds) {
    for (; i < fold.start; i++) rows.push(i);
    rows.push(fold);
    if (fold.open) listed(fold.start, fold.start + fold.length, fold.folds, rows);
    if (fold.open === 1) rows.push({ of: fold });
    if (fold.open === 2) for (i = fold.start + fold.length; i < end(fold); i++) rows.push(i);
    i = end(fold);
  }
  for (; i < to; i++) rows.push(i);
  return rows;
}
const SORTED_AS_TEXT = new Intl.Collator("en", { numeric: true });
function sortLayers(rows) {
  const [key, sign] = sorted, l = model().layers;
  const column = key === "index" ? null : l.figures[key] || l[key], size = (value) => (Array.isArray(value) ? most(value, -1) : value ?? -1);
  if (!column) return sign > 0 ? rows : rows.reverse();
  if (typeof column[0] === "string") return rows.sort((a, b) => sign * SORTED_AS_TEXT.compare(column[a], column[b]));
  return rows.sort((a, b) => sign * (size(column[a]) - size(column[b])));
}
let largest = 1;
function paintLayers() {
  largest = most(model().layers.figures[state.quantity]) || 1;
  LAYERS.paint();
}
function applyFilter() {
  const text = byId("layer-filter").value.trim().toLowerCase(), kind = byId("layer-kind").value, l = model().layers, n = l.name.length;
  const values = l.figures[state.quantity], filtering = Boolean(text || kind);
  let shown = l.name.map((_, i) => i);
  if (filtering) shown = shown.filter((i) => (!kind || l.kind[i] === kind) && (!text || `${l.name[i]} ${l.type[i]}`.toLowerCase().includes(text)));
  byId("layer-count").textContent = `${filtering ? `${grouped(shown.length)} of ` : ""}${layersIn(n)} · ${amount(sum(shown.map((i) => values[i])))} (${share(sum(shown.map((i) => values[i])), sum(values)) || "none"})`;
  byId("filtered").hidden = !filtering || document.activeElement === byId("layer-filter");
  byId("filtered-text").textContent = `${[byId("layer-filter").value.trim(), kind].filter(Boolean).join(", ")}: ${layersIn(shown.length)}`;
  // Folded are layers in the order in which they ran; what is sorted or looked for is a layer.
  LAYERS.show(sorted ? sortLayers(shown) : filtering ? shown : listed(0, n, l.folds));
  paintLayers();
}
onSort(byId("layer-table"), (head, to) => {
  sorted = head.dataset.key === "index" && to === "ascending" ? null : [head.dataset.key, to === "ascending" ? 1 : -1];
  applyFilter();
});
function filterLayers({ text = "", kind = "" }) {
  byId("layer-filter").value = text;
  byId("layer-kind").value = kind;
  applyFilter();
}
