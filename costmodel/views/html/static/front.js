// The Pareto front of two columns: the rows that no other is better than in both, from the best of the first on. A row
// that lacks a figure is not on it. The same rows as costmodel/front.py; a browser test holds one to the other.
function front(x, y, lower = [true, true]) {
  const [sx, sy] = lower.map((less) => (less ? 1 : -1)), kept = [];
  const order = x.map((_, i) => i).filter((i) => x[i] !== null && y[i] !== null);
  order.sort((a, b) => sx * (x[a] - x[b]) || sy * (y[a] - y[b]));
  for (const i of order) if (!kept.length || sy * y[i] < sy * y[kept[kept.length - 1]]) kept.push(i);
  return kept;
}
