// The module tree. Branches are made when they are first opened.
let treeTotals, treeChildren;
function branch(i) {
  const m = model(), children = treeChildren[i], whole = treeTotals[0];
  const button = element("button", { type: "button", "aria-expanded": children.length ? "false" : null, title: m.tree.name[i] || m.name },
    element("span", { class: "label" }, label(m, i)), element("span", { class: "type" }, m.tree.type[i]));
  const bar = element("i");
  bar.style.width = `${whole ? (100 * treeTotals[i]) / whole : 0}%`;
  const item = element("li", { "data-node": i },
    element("div", { class: "node" }, button, element("span", { class: "track" }, bar),
      element("span", { class: "value", title: grouped(treeTotals[i]) }, si(treeTotals[i])),
      element("span", { class: "percent" }, share(treeTotals[i], whole))));
  button.addEventListener("click", () => {
    if (children.length) open(item, button.getAttribute("aria-expanded") === "false");
    else filterLayers({ text: m.tree.name[i] });
  });
  return item;
}
function open(item, wanted) {
  const i = Number(item.dataset.node), button = item.querySelector("button");
  if (!treeChildren[i].length) return;
  button.setAttribute("aria-expanded", String(wanted));
  let list = item.querySelector(":scope > ul");
  if (wanted && !list) item.append((list = element("ul", {}, ...treeChildren[i].map(branch))));
  if (list) list.hidden = !wanted;
}
function drawTree(keep) {
  const opened = keep ? new Set([...byId("tree").querySelectorAll('button[aria-expanded="true"]')].map((b) => Number(b.closest("li").dataset.node))) : new Set([0]);
  const m = model();
  treeTotals = totals(m, state.quantity);
  treeChildren = m.tree.name.map(() => []);
  m.tree.parent.forEach((p, i) => p >= 0 && treeChildren[p].push(i));
  byId("tree").replaceChildren(element("ul", {}, branch(0)));
  const reopen = (item) => {
    if (!opened.has(Number(item.dataset.node))) return;
    open(item, true);
    item.querySelectorAll(":scope > ul > li").forEach(reopen);
  };
  reopen(byId("tree").querySelector("li"));
}
function openAll(wanted) {
  const walk = (item) => {
    open(item, wanted);
    item.querySelectorAll(":scope > ul > li").forEach(walk);
  };
  const root = byId("tree").querySelector("li");
  walk(root);
  if (!wanted) open(root, true);
}
byId("tree-expand").addEventListener("click", () => openAll(true));
byId("tree-collapse").addEventListener("click", () => openAll(false));
