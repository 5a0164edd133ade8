// A table of any number of rows, of which those in view are made: an element for each of 100,000 cells takes seconds.
const IN_VIEW = 200;
function lazyTable(table, make) {
  const scroll = table.closest(".scroll"), body = table.tBodies[0];
  const spacers = [table.insertBefore(spacer(), body), table.appendChild(spacer())];
  let rows = [], from = 0, to = 0, height = 33, all = false;
  function spacer() {
    return element("tbody", { "aria-hidden": "true", hidden: true }, element("tr", {}, element("td", { class: "spacer" })));
  }
  function paint() {
    body.replaceChildren(...rows.slice(from, to).map((row, i) => {
      const made = make(row);
      made.setAttribute("aria-rowindex", String(from + i + 2));
      return made;
    }));
    [from, rows.length - to].forEach((hidden, i) => {
      spacers[i].hidden = !hidden;
      spacers[i].rows[0].cells[0].style.height = `${hidden * height}px`;
    });
    if (to - from < rows.length && body.rows.length) {
      height = body.getBoundingClientRect().height / body.rows.length || height;
      // Columns as wide as any row in view has made them do not jump.
      const heads = [...table.tHead.rows[0].cells], widths = heads.map((head) => head.getBoundingClientRect().width);
      heads.forEach((head, i) => (head.style.minWidth = `${widths[i]}px`));
    }
  }
  function around(first) {
    from = all || rows.length <= IN_VIEW ? 0 : Math.max(0, Math.min(first, rows.length - IN_VIEW));
    to = all ? rows.length : Math.min(rows.length, from + IN_VIEW);
  }
  function follow() {
    if (rows.length <= IN_VIEW || all) return;
    const first = Math.floor(scroll.scrollTop / height), last = Math.ceil((scroll.scrollTop + scroll.clientHeight) / height);
    if ((first >= from && last <= to) || (first < from && from === 0)) return;
    around(Math.floor((first + last - IN_VIEW) / 2));
    paint();
  }
  scroll.addEventListener("scroll", follow, { passive: true });
  addEventListener("beforeprint", () => { all = true; around(0); paint(); });
  addEventListener("afterprint", () => { all = false; around(0); paint(); });
  return {
    paint,
    show(shown) {
      rows = shown;
      table.setAttribute("aria-rowcount", String(rows.length + 1));
      around(Math.floor(scroll.scrollTop / height) - IN_VIEW / 2);
    },
    focus: (wanted) => body.rows[rows.findIndex(wanted) - from]?.querySelector("button")?.focus({ preventScroll: true }),
  };
}
