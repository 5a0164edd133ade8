// The columns that charts are drawn from ("@table.column" in a figure), computed for a model and a quantity.
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const kindColor = (kind) => DATA.kinds[kind] || "#808080";
const amountOf = (measure, n) => (measure.symbol ? si(n, measure.symbol) : `${si(n)} ${measure.unit}`.trim());
const amount = (n) => amountOf(quantity(), n);
// Math.max(...numbers) ends at some 100,000 arguments.
const most = (numbers, start = 0) => numbers.reduce((a, b) => (b > a ? b : a), start);
const FEW = 12, NAME_SIZE = 12.5, GAP = 2; // models that are all named, if they can be; pixels of a name, and beside it
const MARKS = 2000, BOXES = 1000; // as many as an SVG of plotly draws without a wait; of more, a chart says what it leaves out
function every(indices) {
  const step = Math.ceil(indices.length / MARKS);
  return step < 2 ? indices : indices.filter((_, i) => i % step === 0 || i === indices.length - 1);
}

function totals(m, q) {
  // A parent comes before its children, so one pass from the end adds every subtree up.
  const all = m.tree.figures[q].slice();
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
    return { title: quantity().heading };
  },
  nodes() {
    const m = model(), all = totals(m, state.quantity), kinds = kindOfNodes(m), main = mainKinds(m, kinds);
    // The largest parts are boxes, each within one: a part is not larger than its whole, and comes behind it.
    const positive = all.map((_, i) => i).filter((i) => all[i] > 0), drawn = new Set(positive);
    if (positive.length > BOXES) positive.sort((a, b) => all[b] - all[a] || a - b).slice(BOXES).forEach((i) => drawn.delete(i));
    const children = m.tree.name.map(() => []), rest = m.tree.name.map(() => []);
    m.tree.parent.forEach((p, i) => p >= 0 && all[i] > 0 && (drawn.has(i) ? children : drawn.has(p) ? rest : [])[p]?.push(i));
    const shown = { indices: [], id: [], label: [], parent: [], value: [], color: [], ink: [], hover: [] };
    const add = (start, parent) => {
      // A chain of modules that hold each other and nothing else is one box.
      let i = start, text = label(m, i);
      while (parent !== "" && children[i].length === 1 && all[children[i][0]] === all[i]) {
        i = children[i][0];
        text += "." + label(m, i);
      }
      const leaf = !children[i].length && !rest[i].length, color = leaf ? kindColor(kinds[i] || main[i]) : parent === "" ? theme("raised") : blend(kindColor(main[i]), theme("surface"), 0.3);
      shown.indices.push(i);
      shown.id.push(String(i));
      shown.label.push(plain(text));
      shown.parent.push(parent);
      shown.value.push(all[i]);
      shown.color.push(color);
      shown.ink.push(leaf ? inkOn(color) : theme("text"));
      shown.hover.push(`<b>${plain(m.tree.name[i] || m.name)}</b><br>${plain(m.tree.type[i])}${kinds[i] ? " · " + kinds[i] : ""}<br>${amount(all[i])} (${share(all[i], all[0])})<br>${grouped(all[i])}`);
      children[i].forEach((child) => add(child, String(i)));
      if (rest[i].length) {
        const value = sum(rest[i].map((child) => all[child]));
        const said = `${grouped(rest[i].length)} smaller ones`;
        const box = { indices: i, id: `rest ${i}`, label: said, parent: String(i), value, color: theme("raised"), ink: theme("text"), hover: `<b>${said}</b><br>in ${plain(m.tree.name[i] || m.name)}<br>${amount(value)} (${share(value, all[0])})` };
        for (const [name, of] of Object.entries(box)) shown[name].push(of);
      }
    };
    if (all[0] > 0) add(0, "");
    const thinned = positive.length > BOXES ? `The ${grouped(BOXES)} largest of ${grouped(positive.length)} parts have a box each, the others of a module one together.` : "";
    return { ...shown, thinned, orientation: byId("hierarchy").clientWidth < 560 ? "h" : "v" };
  },
  layers() {
    const m = model(), values = m.layers.figures[state.quantity], whole = sum(values), n = values.length;
    const step = Math.ceil(n / MARKS) || 1, starts = values.map((_, i) => i).filter((i) => i % step === 0);
    const bars = starts.map((start) => values.slice(start, start + step)), heights = bars.map(sum);
    // A bar of several layers has the colour of its heaviest one, which a click finds.
    const heaviest = bars.map((bar, b) => starts[b] + bar.indexOf(most(bar, -Infinity)));
    const figure = (v) => `${amount(v)} (${share(v, whole)})`;
    return {
      indices: heaviest,
      index: starts.map((start, b) => start + (bars[b].length + 1) / 2),
      range: [0, n + 1],
      value: heights,
      color: heaviest.map((i) => kindColor(m.layers.kind[i])),
      hover: heaviest.map((i, b) => (step < 2 ? "" : `layers ${grouped(starts[b] + 1)} to ${grouped(starts[b] + bars[b].length)}: ${figure(heights[b])}<br>the heaviest: `) + layerHover(m, i, figure(values[i]))),
      thinned: step > 1 ? `Each bar is the sum of ${step} layers in a row.` : "",
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
      hover: shown.map(([k, v]) => `<b>${k}</b><br>${layersIn(m.layers.kind.filter((x) => x === k).length)}<br>${grouped(v)} (${share(v, whole)})`),
      height: 24 + 40 * Math.max(1, shown.length),
      range: [0, top * (byId("kinds").clientWidth < 420 ? 2.1 : 1.8)],
    };
  },
  field() {
    // What sees all of an axis (beyond a global pool, in a gate) has no stride, and is no point of the growing curve.
    const m = model(), { receptive_field: sizes, stride } = m.layers;
    const seen = sizes.map((_, i) => i).filter((i) => sizes[i] && sizes[i].some((n) => n !== null));
    const is_local = (i) => stride[i].some((s) => s !== null);
    const local = every(seen.filter(is_local)), whole = every(seen.filter((i) => !is_local(i)));
    const size = (at) => at.map((i) => Math.max(...sizes[i]));
    const hover = (at) => at.map((i) => layerHover(m, i, local.includes(i) ? `sees ${sizes[i].join("×")} input positions, ${stride[i].join("×")} apart` : "sees the whole input"));
    const input = (m.layers.input_shape[0] || "").split("×").slice(2).map(Number);
    return {
      range: [0, sizes.length + 1],
      local, whole, index: local.map((i) => i + 1), size: size(local), hover: hover(local),
      whole_index: whole.map((i) => i + 1), whole_size: size(whole), whole_hover: hover(whole),
      input: Math.max(0, ...input),
      thinned: local.length + whole.length < seen.length ? `${grouped(local.length + whole.length)} of ${grouped(seen.length)} layers are marked.` : "",
    };
  },
  live() {
    const m = model(), { curve, layer, peak } = m.memory, highest = most(curve, 1);
    return {
      index: curve.map((_, i) => i + 1), bytes: curve,
      hover: curve.map((b, i) => layerHover(m, layer[i], `${si(b, "B")} live`)),
      peak_at: [peak + 1], peak: [highest], peak_text: [` ${si(highest, "B")} in ${plain(m.layers.name[layer[peak]])} `],
      peak_side: peak < curve.length / 3 ? "top right" : peak < (2 * curve.length) / 3 ? "top center" : "top left", range: [0, highest * 1.18],
    };
  },
  roof() {
    const m = model(), r = m.roofline[state.device], x = m.intensity, time = r.layer_time, ridge = r.peak / r.bandwidth;
    const placed = x.map((_, i) => i).filter((i) => x[i] > 0), arithmetic = new Set(r.waits_for_arithmetic);
    const y = x.map((v, i) => r.attainable[i] ?? Math.min(r.peak, v * r.bandwidth));
    const at = placed.length > MARKS ? [...placed].sort((a, b) => time[b] - time[a]).slice(0, MARKS) : placed;
    const longest = most(time), low = Math.min(0.1, ...at.map((i) => x[i])) / 2, high = 4 * Math.max(ridge, ...at.map((i) => x[i]));
    return {
      indices: at, ridge, thinned: at.length < placed.length ? `The ${grouped(MARKS)} layers that take most of ${grouped(placed.length)}.` : "",
      x: at.map((i) => x[i]), y: at.map((i) => y[i]),
      size: at.map((i) => Math.max(36, (900 * time[i]) / longest)), color: at.map((i) => kindColor(m.layers.kind[i])),
      hover: at.map((i) => layerHover(m, i, `${x[i].toPrecision(3)} FLOPs per byte, at best ${si(y[i], "FLOP/s")}<br>at least ${seconds(time[i])} (${share(time[i], r.time)}), waits for ${arithmetic.has(i) ? "arithmetic" : "memory"}`)),
      edge_x: [low, ridge, high], edge_y: [low * r.bandwidth, r.peak, r.peak],
      range_x: [Math.log10(low), Math.log10(high)], range_y: [Math.log10(low * r.bandwidth), Math.log10(r.peak) + 0.3],
    };
  },
  models() {
    const [across, up] = tradeAxes(), size_of = DATA.measures[DATA.trade_off[2]], sizes = totalsOf(DATA.trade_off[2]);
    const narrow = byId("trade-off").clientWidth < 560, largest = Math.max(...sizes) || 1;
    const area = (narrow ? 34 : 58) ** 2 * Math.min(1, 12 / sizes.length), size = sizes.map((s) => Math.max(80, (area * s) / largest));
    const range_x = axisRange(across, narrow ? 0.3 : 0.14), range_y = axisRange(up, 0.14), places = labelPlaces(across, up, size, range_x, range_y);
    const missing = across.values.filter((v) => v === null).length, given = [across, up].filter((axis) => axis.given);
    const better = given.map((axis) => `${axis.title}: ${axis.lower ? "lower" : "higher"} is better.`);
    const figure = (axis, i) => (axis.given ? `${plain(axis.title)}: ${axis.symbol ? si(axis.values[i]) : grouped(axis.values[i])}` : amountOf(axis, axis.values[i]));
    return {
      across: across.values, up: up.values, size, range_x, range_y,
      title_x: plain(across.title), title_y: plain(up.title), type_x: across.log ? "log" : "linear", type_y: up.log ? "log" : "linear",
      format_x: across.format, format_y: up.format, dtick_x: across.dtick, dtick_y: up.dtick,
      label: DATA.labels.map((name, i) => (places[i] ? plain(name) : "")),
      color: DATA.models.map((_, i) => PALETTE[i % PALETTE.length]),
      position: places.map((place) => place || "top center"),
      hover: DATA.models.map((m, i) => (across.values[i] === null ? "" : `<b>${plain(m.name)}</b><br>${figure(across, i)}<br>${figure(up, i)}<br>${size_of.title} ${amountOf(size_of, sizes[i])}`)),
      thinned: [...better, missing ? `${missing} of ${DATA.models.length} models ${missing === 1 ? "has no such figure, and is" : "have no such figure, and are"} not drawn.` : ""].join(" ").trim(),
    };
  },
  front() {
    // Beyond the front's ends, too, nothing is better in both: it runs on to the edges of the chart.
    const [across, up] = tradeAxes(), kept = front(across.values, up.values, [across.lower, up.lower]);
    if (!kept.length) return { x: [], y: [] };
    const worst = [across, up].map((axis, k) => axis.from(axisRange(axis, k || byId("trade-off").clientWidth >= 560 ? 0.14 : 0.3)[axis.lower ? 1 : 0]));
    const x = kept.map((i) => across.values[i]), y = kept.map((i) => up.values[i]);
    return { x: [x[0], ...x, worst[0]], y: [worst[1], ...y, y[y.length - 1]] };
  },
  ratios() {
    const values = DATA.models.map((m) => m.totals[state.quantity]), base = values[state.baseline];
    const times = values.map((v) => (v > 0 && base > 0 ? v / base : null)); // to nothing there is no ratio
    const label = (r, i) => (r !== null ? ratio(r) : base > 0 && values[i] === 0 ? "none" : "–");
    const logs = times.filter((r) => r).map(Math.log10);
    const low = Math.min(0, ...logs), high = Math.max(0, ...logs), span = Math.max(high - low, 0.3);
    const texts = times.map((r, i) => ` ${label(r, i)} `), wide = (all) => most(all.map((text) => measured(text, 12).width), 1);
    // Beyond a bar's end there is room for its text, so that it does not run into the names.
    const names = DATA.labels.map(byId("ratios").clientWidth < 560 ? shortened : String);
    const width = Math.max(100, byId("ratios").clientWidth - wide(names) - 50), part = Math.min(0.45, (wide(texts) + 10) / width);
    const narrow = width < 260, room = (part * span) / (1 - part * (low < 0 ? 2 : 1.1));
    const marks = !narrow ? [0.001, 0.01, 0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000] : span > 2 ? [0.0001, 0.01, 1, 100, 10000] : [0.01, 0.1, 1, 10, 100];
    const ticks = marks.filter((t) => Math.log10(t) >= low - 0.1 && Math.log10(t) <= high + 0.1);
    return {
      row: names.map((_, i) => i), name: names.map(plain),
      length: times.map((r) => (r === null ? 0 : r - 1)),
      text: texts,
      color: times.map((_, i) => (i === state.baseline ? theme("muted") : PALETTE[i % PALETTE.length])),
      hover: times.map((r, i) => `<b>${plain(DATA.models[i].name)}</b><br>${amount(values[i])}<br>${label(r, i)} of ${plain(DATA.models[state.baseline].name)}`),
      title: `${quantity().heading}, ratio to ${plain(DATA.labels[state.baseline])}`,
      range: [low - room * (low < 0 ? 1 : 0.1), high + room * (high > 0 || low < 0 ? 1 : 0.3)],
      ticks, ticktext: ticks.map((t) => `${t}×`),
      height: 80 + 38 * DATA.models.length,
    };
  },
};

const PALETTE = DATA.palette;

function mixTables() {
  const by = DATA.models.map((m) => byKind(m)), whole = by.map((b) => sum([...b.values()]));
  return Object.keys(DATA.kinds).filter((k) => by.some((b) => b.get(k) > 0)).map((k) => ({
    mix: {
      kind: k, color: kindColor(k), row: DATA.labels.map((_, i) => i),
      share: by.map((b, i) => (whole[i] ? (b.get(k) || 0) / whole[i] : 0)),
      hover: by.map((b, i) => `<b>${plain(DATA.models[i].name)}</b><br>${k}<br>${amount(b.get(k) || 0)} (${share(b.get(k) || 0, whole[i])})`),
    },
  }));
}
function byKind(m) {
  const by = new Map();
  m.layers.kind.forEach((k, i) => by.set(k, (by.get(k) || 0) + m.layers.figures[state.quantity][i]));
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
const totalsOf = (name) => DATA.metrics?.[name] || DATA.models.map((m) => m.totals[name]);
// Both axes of the trade-off. A measure's is logarithmic, and has no zero: what has none lies at 1. A metric's is so
// where its figures span a power of ten. A model that lacks one of both figures has none on either.
function tradeAxes() {
  const columns = [state.across, state.up].map(totalsOf), complete = (i) => columns.every((column) => (column[i] ?? null) !== null);
  return [state.across, state.up].map((name, k) => {
    const axis = DATA.axes[name], values = columns[k].map((v, i) => (!complete(i) ? null : axis.given ? v : Math.max(1, v)));
    const there = values.filter((v) => v !== null), log = !axis.given || (there.length > 0 && Math.min(...there) > 0 && Math.max(...there) >= 10 * Math.min(...there));
    return {
      ...axis, values, there, log, to: log ? Math.log10 : (v) => v, from: log ? (v) => 10 ** v : (v) => v,
      format: axis.given && !axis.symbol ? "" : "~s", dtick: log ? (decades(there) > 1.2 ? 1 : "D2") : null,
    };
  });
}
function axisRange(axis, margin) {
  const at = axis.there.map(axis.to), low = Math.min(...at), high = Math.max(...at);
  if (!at.length) return [0, 1];
  const pad = Math.max((high - low) * margin, axis.log ? 0.15 : Math.abs(high) * 0.01 || 1);
  return [low - pad, high + pad];
}
const PEN = document.createElement("canvas").getContext("2d");
function measured(text, size) {
  PEN.font = `${size}px ${theme("font")}`;
  return PEN.measureText(text);
}
// The place beside its bubble, of those that plotly has, where each name touches neither another bubble nor another name,
// the front or the frame, and belongs to no other bubble; without such a place none. Of a few models a name may touch a little. Those of the front come first.
function labelPlaces(across, up, size, range_x, range_y) {
  const place = byId("trade-off"), found = across.values.map(() => null);
  const frame = place._fullLayout?._size ?? { w: place.clientWidth - 76, h: 434 }; // before it is drawn: as its margins say
  const px = (v) => (frame.w * (across.to(v) - range_x[0])) / (range_x[1] - range_x[0]);
  const py = (v) => frame.h - (frame.h * (up.to(v) - range_y[0])) / (range_y[1] - range_y[0]);
  const placed = across.values.map((_, i) => i).filter((i) => across.values[i] !== null);
  const dots = placed.map((i) => ({ i, x: px(across.values[i]), y: py(up.values[i]), r: Math.sqrt(size[i] / 2) + 1 }));
  const steps = TABLES.front(), corners = steps.x.map((v, k) => [px(v), py(steps.y[k])]);
  // A line is thin, and yet crosses a word out: from each corner across, then up or down.
  const lines = corners.slice(1).flatMap(([x1, y1], k) => {
    const [x0, y0] = corners[k];
    return [[Math.min(x0, x1), y0 - 3, Math.max(x0, x1), y0 + 3], [x1 - 3, Math.min(y0, y1), x1 + 3, Math.max(y0, y1)]];
  });
  const overlap = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const away = ({ x, y }, b) => Math.hypot(Math.max(b[0] - x, 0, x - b[2]), Math.max(b[1] - y, 0, y - b[3]));
  const covered = (dot, b) => (away(dot, b) < dot.r ? overlap([dot.x - dot.r, dot.y - dot.r, dot.x + dot.r, dot.y + dot.r], b) || 1 : 0);
  const onFront = (i) => steps.x.some((v, k) => v === across.values[i] && steps.y[k] === up.values[i]);
  const few = placed.length <= FEW, taken = [];
  for (const { i, x: cx, y: cy, r } of [...dots].sort((a, b) => onFront(b.i) - onFront(a.i))) {
    const { width: w, fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = measured(DATA.labels[i], NAME_SIZE);
    const gap = (r - 1) / 0.8 + 1, places = {}; // as textPointPosition() of plotly has it, baselines too
    for (const [side, base] of [["top", cy - gap - NAME_SIZE / 4], ["bottom", cy + gap + 0.75 * NAME_SIZE], ["middle", cy + NAME_SIZE / 4]])
      for (const [end, x] of [["center", cx - w / 2], ["right", cx + gap], ["left", cx - gap - w]])
        if (side !== "middle" || end !== "center") places[`${side} ${end}`] = [x - GAP, base - above, x + w + GAP, base + below];
    const area = (w + 2 * GAP) * (above + below), outside = (b) => area - overlap(b, [0, 0, frame.w, frame.h]);
    // Nearer to another bubble it would be taken for that one's.
    const gapTo = (dot, b) => away(dot, b) - dot.r, own = { x: cx, y: cy, r };
    const strays = (b) => area * dots.some((dot) => Math.hypot(dot.x - cx, dot.y - cy) > dot.r + r && gapTo(dot, b) < gapTo(own, b));
    const cost = (b) => strays(b) + sum(dots.map((dot) => (dot.i === i ? 0 : covered(dot, b)))) + sum(taken.map((t) => overlap(b, t))) + 4 * sum(lines.map((l) => overlap(b, l))) + 2 * outside(b);
    const ranked = Object.entries(places).map(([name, box]) => [cost(box), name, box]).sort((a, b) => a[0] - b[0]);
    const [least, name, box] = ranked[0];
    if (least > (few ? (onFront(i) ? Infinity : area / 4) : 0.01)) continue;
    taken.push(box);
    found[i] = name;
  }
  return found;
}
function mainKinds(m, kinds) {
  // The kind that most of each subtree's quantity belongs to.
  const own = m.tree.figures[state.quantity], by = m.tree.name.map((_, i) => new Map(kinds[i] ? [[kinds[i], own[i]]] : []));
  for (let i = by.length - 1; i > 0; i--) for (const [k, v] of by[i]) by[m.tree.parent[i]].set(k, (by[m.tree.parent[i]].get(k) || 0) + v);
  return by.map((b) => ([...b].sort((a, c) => c[1] - a[1])[0] || ["other"])[0]);
}
function blend(color, over, part) {
  const rgb = (c) => (c[0] === "#" ? [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16)) : c.match(/[\d.]+/g).map(Number));
  const a = rgb(color), b = rgb(over);
  return `rgb(${[0, 1, 2].map((k) => Math.round(part * a[k] + (1 - part) * b[k])).join(", ")})`;
}
