// What every page has: times in the browser's own zone, and short notes. Other scripts import `ask` and `note` from here.

const NOTED_MS = 6000;
const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  short: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  day: { year: "numeric", month: "short", day: "numeric" },
};

/** Show the times within `root` as they are called where the reader is. */
export function localise(root = document) {
  for (const each of root.querySelectorAll("time[data-form]")) {
    const at = new Date(each.dateTime);
    // A time of day alone would be taken for today's.
    const old = each.dataset.form === "clock" && at.toDateString() !== new Date().toDateString();
    const form = old ? FORMS.short : (FORMS[each.dataset.form] ?? FORMS.short);
    each.textContent = new Intl.DateTimeFormat(undefined, form).format(at);
    each.title = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" }).format(at);
    delete each.dataset.form;
  }
}

/** Say something in the corner; read aloud by screen readers. */
export function note(text) {
  const shown = document.createElement("p");
  shown.className = "note";
  shown.textContent = text;
  document.getElementById("notes").append(shown);
  setTimeout(() => shown.remove(), NOTED_MS);
}

/** Ask the server for a part of a page. Throws an Error whose message is for people; away: where nobody answered. */
export async function ask(address, form) {
  let answer;
  try {
    answer = await fetch(address, {
      method: form ? "POST" : "GET",
      body: form,
      headers: { "x-part": "1", "x-csrf": document.body.dataset.csrf },
    });
  } catch {
    throw Object.assign(new Error("Kith cannot be reached. Try again in a moment."), { away: true });
  }
  const kind = answer.headers.get("content-type") ?? "";
  const said = kind.includes("json") ? await answer.json() : { html: await answer.text() };
  if (answer.status === 401) {
    const after = new URLSearchParams({ next: location.pathname + location.search, why: said.why ?? "" });
    location.assign(`/sign-in?${after}`);
  }
  if (!answer.ok) throw new Error([said.detail ?? "That did not work.", said.remedy].filter(Boolean).join(" "));
  return said;
}

// The list of galleries closes as menus do.
const picker = document.querySelector(".picker");
document.addEventListener("click", (event) => {
  if (picker && !picker.contains(event.target)) picker.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !picker?.open) return;
  picker.open = false;
  picker.querySelector("summary").focus();
});

localise();
for (const each of document.querySelectorAll("#notes .note")) setTimeout(() => each.remove(), NOTED_MS);
