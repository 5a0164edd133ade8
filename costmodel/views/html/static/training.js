// The page of a training step: its charts' columns, and what is live at the operation that is pointed at.
const STEP = DATA.step, CURVE = STEP.curve, LIVE = STEP.live, PHONE = 560;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const decoded = (column) => column.at.map((i) => column.values[i]);
CURVE.op = decoded(CURVE.op), CURVE.module = decoded(CURVE.module), CURVE.phase = decoded(CURVE.phase);
for (const name of ["category", "made_by", "module"]) LIVE[name] = decoded(LIVE[name]);
const NAMES = Object.keys(STEP.categories);
const place = (module) => module || "outside any module";

const TABLES = {
  step() {
    const n = CURVE.op.length, total = CURVE.total, highest = Math.max(1, ...total), narrow = byId("step-memory").clientWidth < PHONE;
    const starts = CURVE.phase.map((_, i) => i).filter((i) => i === 0 || CURVE.phase[i] !== CURVE.phase[i - 1]);
    const ends = [...starts.slice(1), n];
    const shown = {
      index: CURVE.op.map((_, i) => i + 1), total,
      hover: CURVE.op.map((op, i) => `<b>${plain(place(CURVE.module[i]))}</b><br>${plain(op)} · ${CURVE.phase[i]}<br>${si(total[i], "B")} live<br>` +
        NAMES.filter((c) => CURVE.bytes[c][i] > 0).sort((a, b) => CURVE.bytes[b][i] - CURVE.bytes[a][i]).map((c) => `${c} ${si(CURVE.bytes[c][i], "B")}`).join("<br>")),
      range_x: [0.5, n + 0.5], range_y: [0, 1.24 * highest],
      peak_at: [STEP.peak + 1], peak: [total[STEP.peak]], peak_text: [` ${si(total[STEP.peak], "B")} `],
      peak_side: STEP.peak < n / 3 ? "top right" : STEP.peak < (2 * n) / 3 ? "top center" : "top left",
      lines: starts.slice(1).map((i) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: i + 0.5, x1: i + 0.5, line: { dash: "dot", width: 1.2, color: theme("muted") } })),
      phases: starts.map((start, k) => [start, ends[k]]).filter(([start, end]) => end - start > (narrow ? 0.16 : 0.06) * n)
        .map(([start, end]) => ({ x: (start + end) / 2 + 0.5, y: 1, yref: "paper", yanchor: "top", showarrow: false, text: CURVE.phase[start], font: { color: theme("muted"), size: 12 } })),
    };
    for (const c of NAMES) (shown[c] = CURVE.bytes[c]), (shown[`color of ${c}`] = STEP.categories[c]);
    return shown;
  },
  keepers() {
    const k = STEP.keepers, narrow = byId("keepers").clientWidth < PHONE, most = Math.max(1, ...k.bytes);
    const name = k.name.map(narrow ? shortened : String);
    return {
      row: k.name.map((_, i) => i), name: name.map(plain), bytes: k.bytes,
      text: k.bytes.map((b) => ` ${si(b, "B")}${narrow ? "" : ` · ${share(b, STEP.saved)}`}`), color: k.color,
      hover: k.name.map((x, i) => `<b>${plain(x)}</b><br>${plain(k.type[i])} · ${k.kind[i]}<br>keeps ${grouped(k.bytes[i])} bytes (${share(k.bytes[i], STEP.saved)})`),
      height: 24 + 30 * Math.max(1, k.name.length), range: [0, most * (narrow ? 1.6 : 1.25)],
    };
  },
  passes() {
    const p = STEP.passes, most = Math.max(1, ...p.backward, ...p.forward);
    const times = p.forward.map((f, i) => (f ? ratio(p.backward[i] / f) : ""));
    return {
      kind: p.kind, forward: p.forward, backward: p.backward, color: p.color, text: times.map((t) => ` ${t}`),
      hover: p.kind.map((k, i) => `<b>${k}</b><br>forward ${si(p.forward[i], "MACs")}<br>backward ${si(p.backward[i], "MACs")}${times[i] ? ` (${times[i]})` : ""}`),
      height: 24 + 52 * Math.max(1, p.kind.length), range: [0, most * 1.25],
    };
  },
};

// What is live while an operation runs, the largest first.
const SHOWN = 8;
let pinned = null;
function showLive(at) {
  const here = LIVE.bytes.map((_, i) => i).filter((i) => LIVE.from[i] <= at && at <= LIVE.to[i]).sort((a, b) => LIVE.bytes[b] - LIVE.bytes[a]);
  byId("live-title").textContent = at === STEP.peak ? "Live at the peak" : `Live at operation ${grouped(at + 1)}`;
  const of = CURVE.module[at] ? ` of ${CURVE.module[at]}` : "";
  byId("live-where").textContent = `${CURVE.op[at]} in the ${CURVE.phase[at]}${of}: ${si(CURVE.total[at], "B")}`;
  byId("live").replaceChildren(...here.slice(0, SHOWN).map((i) => {
    const dot = element("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = STEP.categories[LIVE.category[i]];
    const made = LIVE.module[i] || LIVE.made_by[i] || LIVE.category[i];
    return element("li", { title: [LIVE.category[i], LIVE.made_by[i], LIVE.module[i]].filter(Boolean).join(" · ") }, dot, element("code", {}, made), element("span", {}, si(LIVE.bytes[i], "B")));
  }));
  const rest = here.slice(SHOWN);
  byId("live-rest").textContent = rest.length ? `${grouped(rest.length)} smaller ones, ${si(sum(rest.map((i) => LIVE.bytes[i])), "B")} together` : "";
}
function applyFilter() {
  const text = byId("layer-filter").value.trim().toLowerCase(), table = byId("layer-table");
  const shown = filterRows(table, (row) => [0, 2, 3].some((i) => row.cells[i].dataset.sort.toLowerCase().includes(text)));
  byId("layer-count").textContent = `${text ? `${grouped(shown)} of ` : ""}${layersIn(table.tBodies[0].rows.length)}`;
}

onChange(drawAll);
sortable(byId("layer-table"));
byId("layer-filter").addEventListener("input", applyFilter);
change({});
if (CURVE.op.length) {
  const at = (event) => event.points[0].pointNumber;
  byId("step-memory").on("plotly_hover", (e) => pinned === null && showLive(at(e)));
  byId("step-memory").on("plotly_unhover", () => pinned === null && showLive(STEP.peak));
  byId("step-memory").on("plotly_click", (e) => showLive((pinned = pinned === null ? at(e) : null) ?? STEP.peak));
  showLive(STEP.peak);
}
applyFilter();
document.documentElement.dataset.ready = "yes";
