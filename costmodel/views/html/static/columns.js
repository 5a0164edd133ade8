// The columns that charts are drawn from ("@table.column" in a figure), computed for a model and a quantity.
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const kindColor = (kind) => DATA.kinds[kind] || "#808080";
const withUnit = (n) => si(n, quantity().unit);

function totals(m, q) {
  // A parent comes before its children, so one pass from the end adds every subtree up.
  const all = m.tree[q].slice();
  for (let i = all.length - 1; i > 0; i--) all[m.tree.parent[i]] += all[i];
  return all;
}
function label(m, i) {
  const name = m.tree.name[i];
  if (m.tree.parent[i] < 0) return m.name;
  const parent = m.tree.name[m.tree.parent[i]];
  return parent && name.startsWith(parent) ? name.slice(parent.length + 1) : name;
}
function kindOfNodes(m) {
  const kinds = new Map(m.layers.name.map((name, i) => [name, m.layers.kind[i]]));
  return m.tree.name.map((name) => kinds.get(name));
}

const TABLES = {
  quantity() {
    return { title: quantity().name };
  },
  nodes() {
    const m = model(), all = totals(m, state.quantity), kinds = kindOfNodes(m), depths = [];
    const keep = [];
    m.tree.parent.forEach((p, i) => {
      depths[i] = p < 0 ? 0 : depths[p] + 1;
      if (all[i] > 0) keep.push(i);
    });
    const shades = isDark() ? ["#2a313b", "#323b47", "#3b4653", "#44505f"] : ["#e4e9ef", "#d8dfe8", "#ccd5e0", "#c1ccd9"];
    const inner = (i) => shades[Math.min(depths[i], shades.length - 1)];
    return {
      indices: keep,
      id: keep.map(String),
      label: keep.map((i) => plain(label(m, i))),
      parent: keep.map((i) => (m.tree.parent[i] < 0 ? "" : String(m.tree.parent[i]))),
      value: keep.map((i) => all[i]),
      color: keep.map((i) => (kinds[i] ? kindColor(kinds[i]) : inner(i))),
      ink: keep.map((i) => (kinds[i] ? inkOn(kindColor(kinds[i])) : isDark() ? "#e8ebef" : "#1a1f26")),
      hover: keep.map((i) =>
        `<b>${plain(m.tree.name[i] || m.name)}</b><br>${plain(m.tree.type[i])}${kinds[i] ? " · " + kinds[i] : ""}` +
        `<br>${withUnit(all[i])} ${quantity().unit ? "" : quantity().name.toLowerCase()} (${share(all[i], all[0])})` +
        `<br>${grouped(all[i])}`),
    };
  },
  layers() {
    const m = model(), values = m.layers[state.quantity], whole = sum(values);
    return {
      index: values.map((_, i) => i + 1),
      value: values,
      color: m.layers.kind.map(kindColor),
      hover: values.map((v, i) => layerHover(m, i, `${withUnit(v)} ${quantity().unit ? "" : quantity().name.toLowerCase()} (${share(v, whole)})`)),
    };
  },
  kinds() {
    const m = model(), by = byKind(m), whole = sum([...by.values()]);
    const shown = [...by].filter(([, v]) => v > 0).sort((a, b) => b[1] - a[1]);
    const top = shown.length ? shown[0][1] : 1;
    return {
      kind: shown.map(([k]) => k),
      value: shown.map(([, v]) => v),
      text: shown.map(([, v]) => ` ${share(v, whole)} · ${si(v)}`),
      color: shown.map(([k]) => kindColor(k)),
      hover: shown.map(([k, v]) => `<b>${k}</b><br>${m.layers.kind.filter((x) => x === k).length} layers<br>${grouped(v)} (${share(v, whole)})`),
      range: [0, top * (byId("kinds").clientWidth < 420 ? 2.1 : 1.8)],
    };
  },
  field() {
    const m = model(), field = m.layers.receptive_field || [];
    const seen = field.map((f, i) => [f, i]).filter(([f]) => f && f.length);
    const input = (m.layers.input_shape[0] || "").split("×").slice(2).map(Number);
    return {
      index: seen.map(([, i]) => i + 1),
      size: seen.map(([f]) => Math.max(...f)),
      color: seen.map(([, i]) => kindColor(m.layers.kind[i])),
      hover: seen.map(([f, i]) => layerHover(m, i, `sees ${f.join("×")} input positions` + (m.layers.stride && m.layers.stride[i] ? `, ${m.layers.stride[i].join("×")} apart` : ""))),
      input: Math.max(0, ...input),
    };
  },
  models() {
    const sizes = DATA.models.map((m) => sum(m.layers.memory_access));
    const x = DATA.models.map((m) => sum(m.tree.params)), y = DATA.models.map((m) => sum(m.tree.macs));
    const narrow = byId("trade-off").clientWidth < 560, largest = Math.max(...sizes);
    const area = (narrow ? 34 : 58) ** 2;
    return {
      params: x, macs: y,
      label: DATA.models.map((m) => plain(m.name)),
      size: sizes.map((s) => Math.max(80, (area * s) / largest)),
      color: DATA.models.map((_, i) => PALETTE[i % PALETTE.length]),
      position: positions(x, y),
      dtick_x: decades(x) > 1.5 ? 1 : "D2", dtick_y: decades(y) > 1.5 ? 1 : "D2",
      range_x: logRange(x, narrow ? 0.28 : 0.16), range_y: logRange(y, 0.16),
      hover: DATA.models.map((m, i) => `<b>${plain(m.name)}</b><br>${si(x[i])} parameters<br>${si(y[i], "MACs")}<br>memory access ${si(sizes[i])} elements`),
    };
  },
  front() {
    const points = DATA.models.map((m) => [sum(m.tree.params), sum(m.tree.macs)]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    let least = Infinity;
    const front = points.filter(([, y]) => (y < least ? ((least = y), true) : false));
    return { x: front.map((p) => p[0]), y: front.map((p) => p[1]) };
  },
  ratios() {
    const values = DATA.models.map((m) => sum(m.tree[state.quantity])), base = values[state.baseline] || 1;
    const times = values.map((v) => v / base).map((r) => (r > 0 ? r : null));
    const logs = times.filter((r) => r).map(Math.log10);
    const low = Math.min(0, ...logs), high = Math.max(0, ...logs), span = Math.max(high - low, 0.3);
    const ticks = [0.001, 0.01, 0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000].filter((t) => Math.log10(t) >= low - 0.1 && Math.log10(t) <= high + 0.1);
    return {
      model: DATA.models.map((m) => plain(m.name)),
      length: times.map((r) => (r === null ? null : r - 1)),
      text: times.map((r) => (r === null ? "" : ` ${ratio(r)} `)),
      color: times.map((_, i) => (i === state.baseline ? theme("muted") : PALETTE[i % PALETTE.length])),
      hover: times.map((r, i) => `<b>${plain(DATA.models[i].name)}</b><br>${withUnit(values[i])}<br>${r === null ? "none" : ratio(r)} of ${plain(DATA.models[state.baseline].name)}`),
      title: `${quantity().name}, ratio to ${plain(DATA.models[state.baseline].name)}`,
      range: [low - span * 0.22 * (low < 0 ? 1 : 0.1), high + span * 0.22 * (high > 0 ? 1 : 0.1)],
      ticks, ticktext: ticks.map((t) => `${t}×`),
      height: 80 + 38 * DATA.models.length,
    };
  },
};

const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5D4BB3", "#8C8C32", "#882255", "#44AA99"];

function mixTables() {
  const by = DATA.models.map((m) => byKind(m)), whole = by.map((b) => sum([...b.values()]));
  return Object.keys(DATA.kinds).filter((k) => by.some((b) => b.get(k) > 0)).map((k) => ({
    mix: {
      kind: k, color: kindColor(k), model: DATA.models.map((m) => plain(m.name)),
      share: by.map((b, i) => (whole[i] ? (b.get(k) || 0) / whole[i] : 0)),
      hover: by.map((b, i) => `<b>${plain(DATA.models[i].name)}</b><br>${k}<br>${withUnit(b.get(k) || 0)} (${share(b.get(k) || 0, whole[i])})`),
    },
  }));
}
function byKind(m) {
  const by = new Map();
  m.layers.kind.forEach((k, i) => by.set(k, (by.get(k) || 0) + m.layers[state.quantity][i]));
  return by;
}
function layerHover(m, i, figure) {
  const l = m.layers;
  return `<b>${plain(l.name[i])}</b><br>${plain(l.type[i])} · ${l.kind[i]}<br>${l.input_shape[i]} → ${l.output_shape[i]}<br>${figure}`;
}
function inkOn(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#14171b" : "#ffffff";
}
const decades = (values) => Math.log10(Math.max(...values) / Math.min(...values.filter((v) => v > 0)));
function logRange(values, margin) {
  const logs = values.filter((v) => v > 0).map(Math.log10), low = Math.min(...logs), high = Math.max(...logs);
  const pad = Math.max((high - low) * margin, 0.15);
  return [low - pad, high + pad];
}
function positions(x, y) {
  // A label goes where its neighbours leave room: above, unless another bubble is close above.
  const lx = x.map(Math.log10), ly = y.map(Math.log10);
  const sx = decades(x) || 1, sy = decades(y) || 1;
  return x.map((_, i) => {
    const near = x.map((_, j) => j).filter((j) => j !== i && Math.abs(lx[j] - lx[i]) / sx < 0.2);
    const above = near.some((j) => ly[j] >= ly[i] && (ly[j] - ly[i]) / sy < 0.14);
    const below = near.some((j) => ly[j] <= ly[i] && (ly[i] - ly[j]) / sy < 0.14);
    if (!above) return "top center";
    if (!below) return "bottom center";
    return near.some((j) => lx[j] > lx[i]) ? "middle left" : "middle right";
  });
}
