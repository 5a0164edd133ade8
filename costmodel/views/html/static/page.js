"use strict";
// The page's state, and who wants to hear of it. Text of a model enters the page by textContent alone.
const DATA = JSON.parse(document.getElementById("data").textContent);
// Columns of few distinct values come dictionary-encoded: the values, and for each row the index of its own.
for (const { layers, tree } of DATA.models)
  for (const table of [layers, tree])
    for (const [name, column] of Object.entries(table)) if (name !== "figures" && !Array.isArray(column)) table[name] = column.at.map((i) => column.values[i]);
// So come names, without that of the node above, and what is known of devices, once for all models.
for (const { tree } of DATA.models)
  tree.name.forEach((name, i) => (tree.name[i] = name[0] === "=" ? name.slice(1) : tree.name[tree.parent[i]] + name));
DATA.models.flatMap((m) => Object.values(m.roofline)).forEach((roof, i) => {
  Object.assign(roof, DATA.devices.values[DATA.devices.at[i]]);
  roof.layer_time = roof.layer_ns.map((t) => t / 1e9);
});
const byId = (id) => document.getElementById(id);
const state = { device: "", model: 0, quantity: DATA.shown, shape: "icicle", baseline: 0 };
const listeners = [];
const onChange = (listener) => listeners.push(listener);
function change(what) {
  Object.assign(state, what);
  for (const listener of listeners) listener(what);
}
const model = () => DATA.models[state.model];
const quantity = () => DATA.measures[state.quantity];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

document.addEventListener("themechange", () => change({}));
