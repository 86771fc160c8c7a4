// Review: a judged card goes, and can be brought back.
import { ask, note } from "./page.js";

const list = document.querySelector(".doubts");
document.querySelector(".filters").addEventListener("change", (event) => event.currentTarget.requestSubmit());

list?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const card = event.target.closest(".doubt");
  const body = new FormData(event.target, event.submitter);
  const next = card.nextElementSibling ?? card.previousElementSibling;
  card.classList.add("busy");
  try {
    tell(await ask(list.dataset.place, body));
  } catch (wrong) {
    card.classList.remove("busy");
    note(wrong.message);
    return;
  }
  const verdict = event.submitter?.textContent === "Say so" ? `it is ${body.get("actually")}` : event.submitter?.textContent;
  card.replaceWith(judged(card, body.get("decision"), verdict));
  next?.querySelector("button")?.focus({ preventScroll: true });
});

/** How many judgements there are now. */
function tell({ kept }) {
  document.getElementById("kept").textContent = kept;
}

function judged(card, decision, verdict) {
  const done = document.createElement("li");
  done.className = "panel doubt done";
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  said.textContent = `Noted: ${verdict}. `;
  const back = document.createElement("button");
  back.type = "button";
  back.className = "quiet";
  back.textContent = "Undo";
  back.addEventListener("click", async () => {
    const body = new FormData();
    body.set("decision", decision);
    body.set("verdict", "withdraw");
    try {
      tell(await ask(list.dataset.place, body));
      card.classList.remove("busy");
      done.replaceWith(card);
      card.querySelector("button")?.focus();
    } catch (wrong) {
      note(wrong.message);
    }
  });
  said.append(back);
  done.append(said);
  return done;
}
