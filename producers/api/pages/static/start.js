// The guided start: a look into the camera, and the answer.
import { ask, localise, note } from "./page.js";
import { Camera, possible } from "./camera.js";

const form = document.querySelector("form.look");
const shown = document.querySelector(".looked");

if (form) {
  const camera = new Camera(form.querySelector(".webcam"));
  const start = form.querySelector(".start");
  const file = form.querySelector("input[type=file]");

  const look = async (picture) => {
    const body = new FormData();
    body.append("images", picture, picture.name);
    shown.setAttribute("aria-busy", "true");
    if (!shown.querySelector(".answer")) shown.firstElementChild.textContent = "Looking at the picture …";
    try {
      const { html } = await ask(form.action, body);
      shown.innerHTML = html;
      localise(shown);
      shown.scrollIntoView({ block: "nearest" });
    } catch (wrong) {
      const said = document.createElement("p");
      said.className = "note bad";
      said.textContent = wrong.message;
      shown.replaceChildren(said);
    } finally {
      shown.removeAttribute("aria-busy");
      file.value = "";
    }
  };

  file.addEventListener("change", () => file.files.length && look(file.files[0]));
  form.addEventListener("submit", (event) => event.preventDefault());
  if (possible) {
    start.hidden = false;
    start.addEventListener("click", async () => {
      try {
        await camera.open();
        start.hidden = true;
        form.querySelector(".shoot").focus();
      } catch (refused) {
        note(refused.message);
      }
    });
    form.querySelector(".shoot").addEventListener("click", async () => look(await camera.shoot()));
    form.querySelector(".stop").addEventListener("click", () => {
      camera.close();
      start.hidden = false;
    });
  }
}
