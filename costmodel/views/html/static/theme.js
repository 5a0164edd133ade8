"use strict";
// Light and dark: the system's choice, until the reader makes one.
const DARK = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (DARK.matches ? "dark" : "light")) === "dark";
const tell = () => document.dispatchEvent(new Event("themechange"));
function nameTheme() {
  document.getElementById("theme-name").textContent = isDark() ? "Light" : "Dark";
}
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  nameTheme();
  tell();
}
document.getElementById("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
DARK.addEventListener("change", () => (nameTheme(), tell()));
nameTheme();
// Paper is light, and wants the charts as wide as it is.
let before = null;
addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme || null; setTheme("light"); });
addEventListener("afterprint", () => { before === null ? delete document.documentElement.dataset.theme : setTheme(before); nameTheme(); tell(); });
