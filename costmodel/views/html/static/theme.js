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
// Paper is light, and about as wide as the page is while it is "printing": charts are drawn for that.
const ROOT = document.documentElement;
let before = null;
addEventListener("beforeprint", () => { before = ROOT.dataset.theme || null; ROOT.classList.add("printing"); setTheme("light"); });
addEventListener("afterprint", () => { ROOT.classList.remove("printing"); before === null ? delete ROOT.dataset.theme : setTheme(before); nameTheme(); tell(); });
// What gets the keyboard's focus is shown whole: browsers leave it where a sliver of it can be seen.
document.addEventListener("focusin", ({ target }) => target.matches(":focus-visible") && target.scrollIntoView({ block: "nearest", inline: "nearest" }));
