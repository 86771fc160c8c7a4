// System: looked at again every few seconds, while somebody looks; never while they are in the middle of something.
import { ask, localise } from "./page.js";

const EVERY_MS = 3000;
const system = document.getElementById("system");
const lamp = document.getElementById("lamp");

async function look() {
  if (!document.hidden && !system.contains(document.activeElement)) {
    try {
      const { html } = await ask("/system");
      if (!system.contains(document.activeElement)) {
        system.innerHTML = html;
        localise(system);
      }
      say("on", "Live");
    } catch (wrong) {
      say("off", wrong.away ? "Reconnecting …" : wrong.message);
    }
  }
  setTimeout(look, EVERY_MS);
}

function say(state, text) {
  // Only what is new: screen readers read it out.
  if (lamp.textContent !== text) lamp.textContent = text;
  lamp.className = `lamp scripted ${state}`;
}

setTimeout(look, EVERY_MS);
