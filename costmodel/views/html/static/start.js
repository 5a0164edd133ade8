// Wiring: what the reader touches, to what changes.
function names() {
  byId("where-title").textContent = `${quantity().heading} by module`;
  for (const span of document.querySelectorAll(".quantity")) span.textContent = quantity().heading;
}
function legend(list, models) {
  const present = new Set(models.flatMap((m) => m.layers.kind.filter((_, i) => m.layers.figures[state.quantity][i] > 0)));
  list.replaceChildren(...Object.keys(DATA.kinds).filter((k) => present.has(k)).map((kind) => {
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = kindColor(kind);
    return element("li", {}, swatch, kind);
  }));
}
function heaviest() {
  const l = model().layers, values = l.figures[state.quantity], whole = sum(values);
  const order = values.map((_, i) => i).filter((i) => values[i] > 0).sort((a, b) => values[b] - values[a]).slice(0, 5);
  byId("heaviest").replaceChildren(...order.map((i) => {
    const button = element("button", { type: "button", title: l.name[i] }, element("code", {}, element("bdi", {}, l.name[i])), element("span", {}, `${si(values[i])} · ${share(values[i], whole)}`));
    button.addEventListener("click", () => filterLayers({ text: l.name[i] }));
    return element("li", {}, button);
  }));
}
function devices() {
  const r = model().roofline, names = Object.keys(r);
  if (!r[state.device]) state.device = names[0];
  byId("device").replaceChildren(...names.map((name) => element("option", { value: name, selected: name === state.device }, r[name].title)));
}
function roofText() {
  const r = model().roofline[state.device], arithmetic = new Set(r.waits_for_arithmetic);
  const waits = sum(r.layer_time.filter((_, i) => !arithmetic.has(i)));
  byId("roof-text").textContent = `At least ${seconds(r.time)} on ${r.title} with every op a kernel of its own, ${seconds(r.fused_time)} with elementwise ops fused (${r.peak_name}: ${si(r.peak, "FLOP/s")}, ${si(r.bandwidth, "B/s")}). ${share(waits, r.time)} of the former is spent waiting for memory.`;
  byId("roof-sources").replaceChildren(...r.sources.map((source) => element("li", {}, source)));
}
function showModel() {
  for (const part of document.querySelectorAll(".of-model")) part.hidden = Number(part.dataset.model) !== state.model;
  for (const row of document.querySelectorAll("#total-table tbody tr")) row.classList.toggle("chosen", Number(row.dataset.model) === state.model);
  if (byId("model-name")) byId("model-name").textContent = model().name;
  if (byId("model-select")) byId("model-select").value = String(state.model);
  const kinds = Object.keys(DATA.kinds).filter((k) => model().layers.kind.includes(k));
  byId("layer-kind").replaceChildren(element("option", { value: "" }, "All kinds"), ...kinds.map((k) => element("option", { value: k }, k)));
}
function chooseModel(index, scroll) {
  byId("layer-filter").value = "";
  change({ model: index });
  if (scroll) byId("model").scrollIntoView();
}
function paintTotals() {
  for (const cell of document.querySelectorAll("#total-table td[data-key]")) {
    const shown = cell.dataset.key === state.quantity;
    const largest = Math.max(...totalsOf(cell.dataset.key)) || 1;
    cell.classList.toggle("shown", shown);
    cell.style.setProperty("--w", `${((100 * Number(cell.dataset.sort)) / largest).toFixed(1)}%`);
  }
}

onChange((what) => {
  if ("model" in what) showModel(), layerTable(), drawTree(false), devices();
  if ("model" in what || "device" in what) roofText();
  if ("quantity" in what) applyFilter(), drawTree(true), paintTotals();
  if ("model" in what || "quantity" in what) names(), heaviest(), legend(byId("legend"), [model()]);
  if (byId("mix-legend")) legend(byId("mix-legend"), DATA.models);
});
onChange(drawAll);
byId("quantity").addEventListener("change", (e) => change({ quantity: e.target.value }));
byId("shape").addEventListener("change", (e) => change({ shape: e.target.value }));
byId("layer-filter").addEventListener("input", applyFilter);
byId("layer-filter").addEventListener("blur", applyFilter);
byId("layer-kind").addEventListener("change", applyFilter);
byId("layer-exact").addEventListener("change", paintLayers);
byId("filtered-clear").addEventListener("click", () => filterLayers({}));
byId("device").addEventListener("change", (e) => change({ device: e.target.value }));
if (byId("total-table")) {
  sortable(byId("total-table"));
  byId("total-filter").addEventListener("input", (e) => {
    const text = e.target.value.trim().toLowerCase();
    const shown = filterRows(byId("total-table"), (row) => row.cells[0].dataset.sort.toLowerCase().includes(text));
    byId("total-count").textContent = `${shown} of ${DATA.models.length} models`;
  });
  byId("total-table").addEventListener("click", (e) => {
    const row = e.target.closest("tbody a")?.closest("tr");
    if (row) chooseModel(Number(row.dataset.model), false);
  });
  byId("model-select").addEventListener("change", (e) => chooseModel(Number(e.target.value), false));
  byId("baseline-select").addEventListener("change", (e) => change({ baseline: Number(e.target.value) }));
  for (const id of ["across", "up"]) {
    byId(id).addEventListener("change", (e) => change({ [id]: e.target.value }));
    state[id] = byId(id).value;
  }
  state.baseline = Number(byId("baseline-select").value);
}
change({ model: 0, quantity: document.querySelector("#quantity input:checked").value });
Promise.all(drawing).then(() => (document.documentElement.dataset.ready = "yes"));
