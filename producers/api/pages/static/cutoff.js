// Cutoff: the slider moves the line in the drawing at once, and asks what would change a moment later.
import { ask, localise } from "./page.js";

const slider = document.getElementById("at");
const form = slider.form;
const shown = form.querySelector("output");
const tried = document.getElementById("tried");
const byHand = document.getElementById("by-hand");
const line = document.querySelector(".h-cutoff");
let timer, asked = 0;

form.addEventListener("submit", (event) => event.preventDefault());
slider.addEventListener("input", () => {
  const at = Number(slider.value);
  shown.textContent = at.toFixed(2);
  if (byHand) byHand.value = at.toFixed(3);
  if (line) move(at);
  clearTimeout(timer);
  timer = setTimeout(() => attempt(at), 200);
});

function move(at) {
  const { left, width, low, high } = line.dataset;
  const x = Number(left) + ((at - Number(low)) / (Number(high) - Number(low))) * Number(width);
  const mark = line.querySelector("line");
  const text = line.querySelector("text");
  mark.setAttribute("x1", x);
  mark.setAttribute("x2", x);
  text.setAttribute("x", x);
  text.textContent = at.toFixed(2);
}

async function attempt(at) {
  const mine = ++asked;
  tried.setAttribute("aria-busy", "true");
  try {
    const { html } = await ask(`${form.action}?at=${at}`);
    // Only the newest answer counts: they may come in another order.
    if (mine === asked) {
      tried.innerHTML = html;
      localise(tried);
    }
  } catch (wrong) {
    if (mine === asked) tried.textContent = wrong.message;
  } finally {
    if (mine === asked) tried.removeAttribute("aria-busy");
  }
}
