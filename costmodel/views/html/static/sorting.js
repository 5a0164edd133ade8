// Tables whose heads sort, by what data-sort says, and whose rows a search field filters.
function sortable(table) {
  onSort(table, (head, to) => sortBy(table, head, to));
}
function onSort(table, sort) {
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.parentElement;
    const numeric = head.classList.contains("n");
    const was = head.getAttribute("aria-sort");
    const to = was ? (was === "descending" ? "ascending" : "descending") : numeric ? "descending" : "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", to);
    sort(head, to);
  });
}
function sortBy(table, head, to) {
  const numeric = head.classList.contains("n"), column = head.cellIndex, sign = to === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.sort;
  // A cell without a figure is behind all others, whichever way they are sorted.
  const missing = (a, b) => (a === "") - (b === "");
  const order = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => missing(a, b) || sign * order(a, b));
  body.append(...rows.map(([, row]) => row));
}
function filterRows(table, matches) {
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = !matches(row);
    if (!row.hidden) shown++;
  }
  return shown;
}
