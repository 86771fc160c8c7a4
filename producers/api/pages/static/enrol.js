// Enrolling: pictures dropped, chosen or taken are sent at once, and each comes back with its quality.
import { ask, localise, note } from "./page.js";
import { Camera, possible } from "./camera.js";

const KINDS = ["image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif"];
const MOST = 64;

for (const form of document.querySelectorAll("form.enrol")) {
  const drop = form.querySelector(".drop");
  const input = form.querySelector("input[type=file]");
  const name = form.querySelector("[name=name]");
  const results = form.parentElement.querySelector(".results");
  const chosen = form.querySelector(".chosen");
  const send = form.querySelector("button.send");
  const start = form.querySelector("button.start");
  const camera = new Camera(form.querySelector(".webcam"));

  const enrol = async (files) => {
    const pictures = files.filter((file) => KINDS.includes(file.type)).slice(0, MOST);
    if (!name.value.trim()) {
      note("Say first who it is.");
      name.setAttribute("aria-invalid", "true");
      name.focus();
      return;
    }
    const left = files.filter((file) => !pictures.includes(file));
    if (!pictures.length) {
      results.replaceChildren(leftOut(left));
      return;
    }
    const body = new FormData();
    body.set("name", name.value);
    for (const picture of pictures) body.append("images", picture, picture.name);
    send.disabled = true;
    results.replaceChildren(waiting(pictures));
    try {
      const { html } = await ask(form.action, body);
      results.innerHTML = html;
      localise(results);
    } catch (wrong) {
      results.replaceChildren(failed(wrong.message));
    } finally {
      send.disabled = false;
      input.value = "";
      chosen.textContent = "";
    }
    if (left.length) results.prepend(leftOut(left));
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enrol([...input.files]);
  });
  name.addEventListener("input", () => name.removeAttribute("aria-invalid"));
  input.addEventListener("change", () => {
    if (!input.files.length) chosen.textContent = "";
    else if (name.value.trim()) enrol([...input.files]);
    else {
      chosen.textContent = `${counted(input.files.length)} chosen. Say who it is, then enrol.`;
      name.focus();
    }
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    enrol([...event.dataTransfer.files]);
  });

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
    form.querySelector(".shoot").addEventListener("click", async () => enrol([await camera.shoot()]));
    form.querySelector(".stop").addEventListener("click", () => {
      camera.close();
      start.hidden = false;
      start.focus();
    });
  }
}

function waiting(pictures) {
  const said = document.createElement("p");
  said.className = "muted";
  said.textContent = `Looking at ${pictures.length === 1 ? "the picture" : `${pictures.length} pictures`} …`;
  return said;
}

function counted(number) {
  return number === 1 ? "1 picture" : `${number} pictures`;
}

/** Says which files were not sent: those that are no pictures, and those beyond what is taken at a time. */
function leftOut(files) {
  const said = failed("");
  const names = files.slice(0, 5).map((file) => file.name).join(", ") + (files.length > 5 ? " …" : "");
  const many = files.some((file) => KINDS.includes(file.type));
  said.textContent =
    `Left out: ${names}. ` + (many ? `At most ${MOST} pictures at a time.` : "Use JPEG, PNG or WebP pictures.");
  return said;
}

function failed(message) {
  const said = document.createElement("p");
  said.className = "note bad";
  said.setAttribute("role", "alert");
  said.textContent = message;
  return said;
}
