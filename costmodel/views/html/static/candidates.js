// The page of a sweep: its chart of two measures, which the reader chooses, and the front of those.
const SWEEP = DATA.sweep, COLORS = 9; // values of an argument that have colours of their own
const COUNT = SWEEP.figures[Object.keys(SWEEP.figures)[0]].length;
const chosen = (id) => byId(id).value;
const amountOf = (name, n) => `${SWEEP.measures[name].title}: ${grouped(n)}`;
const candidateAt = (i) => Object.entries(SWEEP.arguments).map(([name, values]) => `${plain(name)}=${plain(values[i])}`).join(", ");
// Ticks at powers of ten, or of two where there are few.
const range = (values) => values.reduce(([least, most], n) => [n < least ? n : least, n > most ? n : most], [Infinity, -Infinity]);
function axis(values) {
  const [least, most] = range(values);
  return least > 0 ? { type: "log", dtick: most / least > 100 ? 1 : most / least > 4 ? "D2" : null } : { type: "linear", dtick: null };
}
function colors() {
  const by = chosen("color"), values = SWEEP.arguments[by];
  if (!values) return { color: theme("accent"), legend: [] };
  const distinct = [...new Set(values)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (distinct.length <= COLORS) return { color: values.map((v) => DATA.palette[distinct.indexOf(v) % DATA.palette.length]), legend: distinct.map((v, i) => [`${by}=${v}`, DATA.palette[i % DATA.palette.length]]) };
  if (SWEEP.numbers.includes(by)) return { color: values.map(Number), scale: true, legend: [] };
  return { color: theme("accent"), legend: [["too many values for colours", theme("accent")]] };
}
const TABLES = {
  points() {
    const [across, up] = [chosen("across"), chosen("up")], [x, y] = [SWEEP.figures[across], SWEEP.figures[up]], { color, scale } = colors();
    const hover = x.map((_, i) => `<b>${candidateAt(i)}</b><br>${amountOf(across, x[i])}<br>${amountOf(up, y[i])}`), best = front(x, y);
    const [ax, ay] = [axis(x), axis(y)], at = (column) => best.map((i) => column[i]);
    return {
      x, y, hover, color, scale: Boolean(scale), by: scale ? plain(chosen("color")) : "", front_x: at(x), front_y: at(y), front_hover: at(hover),
      title_x: SWEEP.measures[across].title, title_y: SWEEP.measures[up].title, type_x: ax.type, type_y: ay.type, dtick_x: ax.dtick, dtick_y: ay.dtick,
      thinned: COUNT < SWEEP.total ? `${grouped(COUNT)} of ${grouped(SWEEP.total)} candidates are drawn: those on fronts and the least and greatest, and of others that lie close together one.` : "",
    };
  },
};
function legend() {
  byId("legend").replaceChildren(...colors().legend.map(([value, color]) => {
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = color;
    return element("li", {}, swatch, value);
  }));
}
onChange(drawAll);
onChange(legend);
for (const id of ["across", "up", "color"]) byId(id).addEventListener("change", () => change({}));
sortable(byId("front-table"));
change({});
document.documentElement.dataset.ready = "yes";
