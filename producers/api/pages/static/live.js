// Live: rows come over server-sent events; paused, they wait.
import { ask, localise } from "./page.js";

const MOST = 200;
const feed = document.getElementById("feed");
const lamp = document.getElementById("lamp");
const pause = document.getElementById("pause");
const more = document.getElementById("waiting");
const filters = document.getElementById("filters");
let paused = false;
let held = [];

filters.addEventListener("change", () => filters.requestSubmit());

// Browsers take a stream that broke up again by themselves, but not one that was answered with an error, by a proxy
// whose server is away or with the sign-in: that is begun anew here, from the last row.
const AGAIN_MS = 3000;
let connected = false, last = null;

function listen() {
  const place = new URL(feed.dataset.stream, location);
  if (last) place.searchParams.set("after", last);
  const source = new EventSource(place);
  source.addEventListener("open", () => {
    connected = true;
    light();
  });
  source.addEventListener("error", () => {
    connected = false;
    light();
    if (source.readyState === EventSource.CLOSED) setTimeout(again, AGAIN_MS);
  });
  source.addEventListener("entry", (event) => {
    last = event.lastEventId;
    const entry = { id: event.lastEventId, html: JSON.parse(event.data).html };
    if (paused) {
      held.push(entry);
      held = held.slice(-MOST);
      count();
    } else show(entry);
  });
  source.addEventListener("problem", (event) => {
    connected = false;
    light(JSON.parse(event.data).detail);
  });
  source.addEventListener("out", () => {
    source.close();
    location.reload();
  });
}

async function again() {
  try {
    // Goes to the sign-in where that is what is wrong.
    await ask(location.pathname + location.search);
    listen();
  } catch (wrong) {
    light(wrong.away ? undefined : wrong.message);
    setTimeout(again, AGAIN_MS);
  }
}

listen();

pause.addEventListener("click", () => set(!paused));
more.addEventListener("click", () => {
  set(false);
  feed.querySelector("a")?.focus({ preventScroll: true });
});

function set(wanted) {
  paused = wanted;
  pause.setAttribute("aria-pressed", String(paused));
  pause.querySelector("span").textContent = paused ? "Go on" : "Pause";
  if (!paused) {
    held.forEach(show);
    held = [];
  }
  count();
  light();
}

function count() {
  more.hidden = !held.length;
  more.textContent = `${held.length} new`;
}

function show({ id, html }) {
  if (document.getElementById(`e${id}`)) return;
  const item = document.createElement("li");
  item.id = `e${id}`;
  item.className = "fresh";
  item.innerHTML = html;
  localise(item);
  feed.prepend(item);
  document.getElementById("nothing").hidden = true;
  while (feed.children.length > MOST) feed.lastElementChild.remove();
}

/** How it stands; why: what is wrong, where more is known than that the connection broke. */
function light(why) {
  const [state, text] = !connected ? ["off", why ?? "Reconnecting …"] : paused ? ["paused", "Paused"] : ["on", "Live"];
  lamp.className = `lamp scripted ${state}`;
  if (lamp.textContent !== text) lamp.textContent = text;
}
