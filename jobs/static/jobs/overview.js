// Refreshes the overview while it is looked at: one request every few seconds, none in a hidden tab,
// and a line that says so when the site does not answer.
"use strict";
{
  const EVERY = 5000;

  document.addEventListener("DOMContentLoaded", () => {
    let box = document.querySelector(".jobs-overview");
    if (!box) return;
    let heard = new Date();
    let timer = 0;

    function tellLost() {
      const told = box.querySelector(".jobs-lost");
      told.querySelector("span").textContent = heard.toLocaleTimeString();
      told.hidden = false;
    }

    async function refresh() {
      try {
        const answer = await fetch(box.dataset.url, { headers: { "X-Requested-With": "fetch" } });
        // A login page, say, is none.
        if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const found = fresh.querySelector(".jobs-overview");
        if (!found) throw new Error("no overview");
        const scrolled = [...box.querySelectorAll(".jobs-wide")].map((one) => one.scrollLeft);
        box.replaceWith(found);
        box = found;
        box.querySelectorAll(".jobs-wide").forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
        heard = new Date();
      } catch {
        tellLost();
      }
      plan();
    }

    function plan() {
      clearTimeout(timer);
      if (document.visibilityState === "visible") timer = setTimeout(refresh, EVERY);
    }

    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") refresh();
      else clearTimeout(timer);
    });
    plan();
  });
}
