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
  if (wanted && !list) item.append((list = element("ul", {}))), more(list, treeChildren[i]);
  if (list) list.hidden = !wanted;
}
const AT_ONCE = 50; // an element for each of 10,000 children takes seconds
function more(list, children) {
  const shown = list.children.length;
  list.append(...children.slice(shown, shown + AT_ONCE).map(branch));
  const left = children.length - list.children.length;
  if (!left) return;
  const button = element("button", { type: "button", class: "more" }, `${grouped(Math.min(left, AT_ONCE))} more of ${grouped(left)}`);
  button.addEventListener("click", () => {
    button.parentElement.remove();
    more(list, children);
    list.children[shown + AT_ONCE].querySelector("button").focus();
  });
  list.append(element("li", {}, button));
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
    item.querySelectorAll(":scope > ul > li[data-node]").forEach(reopen);
  };
  reopen(byId("tree").querySelector("li"));
}
function openAll(wanted) {
  const walk = (item) => {
    open(item, wanted);
    item.querySelectorAll(":scope > ul > li[data-node]").forEach(walk);
  };
  const root = byId("tree").querySelector("li");
  walk(root);
  if (!wanted) open(root, true);
}
byId("tree-expand").addEventListener("click", () => openAll(true));
byId("tree-collapse").addEventListener("click", () => openAll(false));
