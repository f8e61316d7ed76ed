// Moves what {% job_progress %} has drawn, once a second while it is looked at, until the job has
// ended. Then tells the page: an event "jobs:finished" of the element, with the answer as its detail.
"use strict";
if (!window.jobsProgress) {
  window.jobsProgress = true;
  const EVERY = 1000;

  function show(box, told) {
    box.dataset.state = told.state;
    box.querySelector(".jobs-progress-state").textContent = told.told;
    const count = told.done === null ? "" : told.total === null ? `${told.done}` : `${told.done} / ${told.total}`;
    box.querySelector(".jobs-progress-message").textContent = `${count} ${told.message}`.trim();
    let bar = box.querySelector("progress");
    if (told.percent === null) {
      if (bar) bar.remove();
      return;
    }
    if (!bar) {
      bar = document.createElement("progress");
      bar.max = 100;
      box.prepend(bar, " ");
    }
    bar.value = told.percent;
  }

  async function follow(box) {
    for (;;) {
      await new Promise((go) => { setTimeout(go, EVERY); });
      if (!box.isConnected) return;
      if (document.visibilityState !== "visible") continue;
      try {
        const answer = await fetch(box.dataset.url);
        if (answer.status === 404) return;
        if (!answer.ok) continue;
        const told = await answer.json();
        show(box, told);
        if (told.is_finished) {
          box.dispatchEvent(new CustomEvent("jobs:finished", { bubbles: true, detail: told }));
          return;
        }
      } catch {
        // The site may be back at the next time.
      }
    }
  }

  const start = () => document.querySelectorAll(".jobs-progress[data-url]").forEach(follow);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
