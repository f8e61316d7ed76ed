// Refreshes the overview while it is looked at: one request now and then, none in a hidden tab nor
// while somebody is about to click, and a line that says so when the site does not answer.
"use strict";
{
  const PATIENCE = 15000;

  document.addEventListener("DOMContentLoaded", () => {
    let box = document.querySelector(".jobs-overview");
    if (!box) return;
    let heard = new Date();
    let timer = 0;
    let isAsking = false;
    let isPressed = false;

    function tellLost() {
      const told = box.querySelector(".jobs-lost");
      told.querySelector("span").textContent = heard.toLocaleTimeString();
      told.hidden = false;
    }

    // What is focused, selected or pressed would be taken from under one's hands.
    function isBusy() {
      const chosen = document.getSelection();
      return isPressed || box.contains(document.activeElement)
        || (chosen && !chosen.isCollapsed && box.contains(chosen.anchorNode));
    }

    function replace(found) {
      const scrolled = [...box.querySelectorAll(".jobs-wide")].map((one) => one.scrollLeft);
      box.replaceWith(found);
      box = found;
      box.querySelectorAll(".jobs-wide").forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
    }

    async function refresh() {
      if (isAsking) return;
      isAsking = true;
      let goesOn = true;
      try {
        const answer = await fetch(box.dataset.url, { signal: AbortSignal.timeout(PATIENCE) });
        if (answer.redirected || answer.status === 403) {
          box.querySelector(".jobs-gone").hidden = false;
          goesOn = false;
        } else {
          if (!answer.ok) throw new Error(answer.statusText);
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const found = fresh.querySelector(".jobs-overview");
          if (!found) throw new Error("no overview");
          heard = new Date();
          if (!isBusy()) replace(found);
        }
      } catch {
        tellLost();
      }
      isAsking = false;
      if (goesOn) plan();
    }

    function plan() {
      clearTimeout(timer);
      if (document.visibilityState !== "visible") return;
      timer = setTimeout(refresh, 1000 * Number(box.dataset.every));
    }

    document.addEventListener("pointerdown", () => { isPressed = true; });
    document.addEventListener("pointerup", () => { isPressed = false; });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") refresh();
      else clearTimeout(timer);
    });
    plan();
  });
}
