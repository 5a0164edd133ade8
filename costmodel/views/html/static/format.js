// The same words as costmodel/views/units.py; a browser test holds one to the other.
const STEPS = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const SMALL_STEPS = [[1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];
function si(n, unit = "") {
  const size = Math.abs(n), steps = size > 0 && size < 0.9995e-3 ? SMALL_STEPS : STEPS;
  for (const [step, prefix] of steps) {
    if (size >= 0.9995 * step) {
      const scaled = n / step;
      const digits = Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0;
      return `${scaled.toFixed(digits)} ${prefix}${unit}`;
    }
  }
  return `${Number.isInteger(n) ? n : Number(n.toPrecision(3))} ${unit}`.trim();
}
const grouped = (n) => n.toLocaleString("en-US", { maximumSignificantDigits: Number.isInteger(n) ? 21 : 15 });
function share(part, whole) {
  if (!whole) return "";
  const percent = (100 * part) / whole;
  return percent === 0 ? "0%" : percent < 0.05 ? "< 0.1%" : `${percent.toFixed(1)}%`;
}
function ratio(value) {
  const digits = (([[0.09995, 4], [0.9995, 3], [9.995, 2], [99.95, 1]].find(([limit]) => value < limit)) || [0, 0])[1];
  return `${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}×`;
}
const seconds = (t) => (t >= 1 ? `${t.toPrecision(3)} s` : t >= 1e-3 ? `${(1e3 * t).toPrecision(3)} ms` : t >= 1e-6 ? `${(1e6 * t).toPrecision(3)} µs` : `${(1e9 * t).toPrecision(3)} ns`);
// Plotly reads some markup in labels and hover texts.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const shortened = (name) => (name.length > 20 ? `…${name.slice(-19)}` : name); // for where a phone has no room for more
const layersIn = (n) => `${grouped(n)} layer${n === 1 ? "" : "s"}`;
