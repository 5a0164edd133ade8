// The table of layers.
const LAYER_HEADS = [
  ["name", "Layer"], ["index", "#", "n"], ["check", "Check"], ["kind", "Kind"], ["type", "Type"], ["input_shape", "Input"], ["output_shape", "Output"],
  ...Object.entries(DATA.measures).map(([key, measure]) => [key, measure.short, "n", measure]),
  ["receptive_field", "Rec. field", "n"],
];
const CHECKS = [["–", "traced only: no closed form"], ["✓", "derived twice, and equal"], ["✗", "trace and closed form differ"]];
function layerTable() {
  const table = byId("layer-table"), l = model().layers;
  const heads = LAYER_HEADS.filter(([key, , , measure]) => key === "index" || measure || key in l);
  table.tHead.replaceChildren(element("tr", {}, ...heads.map(([key, name, kind, measure]) => {
    const head = measure?.noun ? element("span", {}, name, " ", element("small", {}, measure.noun)) : name;
    const button = element("button", { type: "button", title: measure?.means }, head);
    return element("th", { scope: "col", class: kind, "data-key": key, "aria-sort": key === "index" ? "ascending" : null }, button);
  })));
  table.tBodies[0].replaceChildren(...l.name.map((_, i) => element("tr", {}, ...heads.map(([key, , , measure]) => (measure ? figureCell(l, key, i) : layerCell(l, key, i))))));
  paintLayers();
  applyFilter();
}
function figureCell(l, key, i) {
  const value = l.figures[key][i];
  return element("td", { class: "n number", "data-sort": value, "data-key": key, title: grouped(value) });
}
function layerCell(l, key, i) {
  if (key === "name") return element("th", { scope: "row", title: l.name[i], "data-sort": l.name[i] }, l.name[i]);
  if (key === "index") return element("td", { class: "n shape", "data-sort": i }, String(i + 1));
  const value = l[key][i];
  if (key === "kind") {
    const dot = element("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = kindColor(value);
    return element("td", { "data-sort": value }, dot, value);
  }
  if (key === "check") return element("td", { class: value === 2 ? "tag differs" : value ? "" : "zero", "data-sort": String(value), title: CHECKS[value][1] }, CHECKS[value][0], element("span", { class: "sr" }, CHECKS[value][1]));
  if (key === "receptive_field") return element("td", { class: "n", "data-sort": value ? Math.max(...value) : -1 }, value ? value.map((n) => n ?? "–").join("×") : "");
  return element("td", { class: key.endsWith("shape") ? "shape" : null, "data-sort": value }, value);
}
function paintLayers() {
  const exact = byId("layer-exact").checked, largest = Math.max(...model().layers.figures[state.quantity]) || 1;
  for (const cell of byId("layer-table").querySelectorAll("td.number")) {
    const n = Number(cell.dataset.sort), shown = cell.dataset.key === state.quantity;
    cell.textContent = exact ? grouped(n) : si(n, DATA.measures[cell.dataset.key].noun && DATA.measures[cell.dataset.key].symbol);
    cell.classList.toggle("zero", n === 0);
    cell.classList.toggle("shown", shown);
    shown ? cell.style.setProperty("--w", `${((100 * n) / largest).toFixed(1)}%`) : cell.style.removeProperty("--w");
  }
}
function applyFilter() {
  const text = byId("layer-filter").value.trim().toLowerCase(), kind = byId("layer-kind").value, l = model().layers;
  const column = [...byId("layer-table").tHead.rows[0].cells].findIndex((c) => c.dataset.key === "index");
  let sumShown = 0;
  const shown = filterRows(byId("layer-table"), (row) => {
    const i = Number(row.cells[column].dataset.sort);
    const here = (!kind || l.kind[i] === kind) && (!text || `${l.name[i]} ${l.type[i]}`.toLowerCase().includes(text));
    if (here) sumShown += l.figures[state.quantity][i];
    return here;
  });
  const filtering = Boolean(text || kind);
  byId("layer-count").textContent = `${filtering ? `${grouped(shown)} of ` : ""}${grouped(l.name.length)} layers · ${amount(sumShown)} (${share(sumShown, sum(l.figures[state.quantity])) || "none"})`;
  byId("filtered").hidden = !filtering || document.activeElement === byId("layer-filter");
  byId("filtered-text").textContent = `${[byId("layer-filter").value.trim(), kind].filter(Boolean).join(", ")}: ${grouped(shown)} layers`;
}
function filterLayers({ text = "", kind = "" }) {
  byId("layer-filter").value = text;
  byId("layer-kind").value = kind;
  applyFilter();
}
