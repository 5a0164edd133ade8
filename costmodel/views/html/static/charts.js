// Figures come from costmodel/views/charts.py; here "@table.column" and "$colour" are filled in.
function theme(name) {
  const probe = byId("main");
  if (name === "font") return getComputedStyle(document.body).fontFamily;
  probe.style.setProperty("outline-color", `var(--${name})`);
  const color = getComputedStyle(probe).outlineColor;
  probe.style.removeProperty("outline-color");
  return color;
}
function filled(figure, tables = {}) {
  const made = { ...tables };
  const fill = (value) => {
    if (Array.isArray(value)) return value.map(fill);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fill(v)]));
    if (typeof value !== "string") return value;
    if (value[0] === "$") return theme(value.slice(1));
    if (value[0] !== "@") return value;
    const [table, column] = value.slice(1).split(".");
    made[table] ??= TABLES[table]();
    return made[table][column];
  };
  return [fill(figure), made];
}

const drawn = {}; // what the points of each chart stand for
const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false };
function draw(id) {
  const place = byId(id);
  if (!place || !DATA.charts[id]) return;
  let figure, tables;
  if (id === "mix") {
    const parts = mixTables().map((t) => filled(DATA.charts.mix, t));
    figure = { data: parts.flatMap(([f]) => f.data), layout: filled(DATA.charts.mix.layout)[0] };
  } else {
    [figure, tables] = filled(DATA.charts[id]);
  }
  drawn[id] = tables;
  if (id === "hierarchy") {
    figure.data[0].type = state.shape;
    if (state.shape === "treemap") Object.assign(figure.data[0], { tiling: { pad: 2 }, maxdepth: 4 });
  }
  // The place keeps its height also while plotly draws anew, as for printing.
  place.style.height = `${figure.layout.height}px`;
  const done = Plotly.react(place, figure.data, figure.layout, CONFIG).then(() => settled(place));
  // A figure that is as before is not drawn again, be its place another width, as for printing.
  if (Math.abs(place._fullLayout.width - place.clientWidth) > 1) Plotly.relayout(place, { autosize: true });
  sayThinned(place, Object.values(tables || {}).map((table) => table.thinned).filter(Boolean).join(" "));
  if (!place.dataset.listens) {
    place.dataset.listens = "yes";
    place.on("plotly_click", (e) => clicked(id, e.points[0]));
    place.on("plotly_afterplot", () => scalable(place));
    place.on("plotly_relayout", () => settled(place));
    scalable(place);
  }
  return done;
}
// Once it is known where axes lie, also after a phone was turned: names of a scatter find their places.
function settled(place) {
  const { l, t, w, h } = place._fullLayout._size, frame = [l, t, w, h].join();
  if (place.id !== "trade-off" || place.dataset.frame === frame) return null;
  place.dataset.frame = frame;
  return draw(place.id);
}
// Paper is narrower than the window that a chart was drawn for: with a view box its drawing shrinks with its box.
function scalable(place) {
  const { width, height } = place._fullLayout;
  for (const svg of place.querySelectorAll(".main-svg")) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  place.style.setProperty("--drawn", `${width}px`);
  place.style.setProperty("--shape", `${width} / ${height}`);
}
// Below a chart of more marks than it can draw: what it leaves out.
function sayThinned(place, text) {
  let note = place.parentElement.querySelector(".thinned");
  if (!note && text) place.after((note = element("p", { class: "thinned" })));
  if (note) (note.textContent = text), (note.hidden = !text);
}
function clicked(id, point) {
  const n = point.pointNumber;
  if (id === "kinds") filterLayers({ kind: drawn.kinds.kinds.kind[n] });
  if (id === "depth") filterLayers({ text: model().layers.name[drawn.depth.layers.indices[n]] });
  if (id === "receptive-field") filterLayers({ text: model().layers.name[drawn[id].field[point.curveNumber ? "whole" : "local"][n]] });
  if (id === "live-memory") filterLayers({ text: model().layers.name[model().memory.layer[n]] });
  if (id === "roofline" && point.curveNumber === 1) filterLayers({ text: model().layers.name[drawn.roofline.roof.indices[n]] });
  if (id === "hierarchy") filterLayers({ text: model().tree.name[drawn.hierarchy.nodes.indices[n]] });
  if ((id === "trade-off" && point.curveNumber === 1) || id === "ratios" || id === "mix") chooseModel(n, true);
}
let drawing = []; // the charts that are being drawn
function drawAll(what = {}) {
  const keys = Object.keys(what);
  const only = (...names) => keys.length && keys.every((k) => names.includes(k));
  byId("field") && (byId("field").hidden = !model().layers.receptive_field);
  drawing = [];
  for (const id of Object.keys(DATA.charts)) {
    if (id === "receptive-field" && !model().layers.receptive_field) continue;
    if (only("shape") && id !== "hierarchy") continue;
    if (only("baseline") && id !== "ratios") continue;
    if (only("across", "up") && id !== "trade-off") continue;
    if (only("model") && ["trade-off", "ratios", "mix"].includes(id)) continue;
    if (only("quantity") && ["trade-off", "receptive-field", "live-memory", "roofline"].includes(id)) continue;
    if (only("device") && id !== "roofline") continue;
    drawing.push(draw(id));
  }
}
