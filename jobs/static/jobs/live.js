// Reads a part of a page anew while it is looked at: one request now and then, none in a hidden tab.
// Says of when it is what it shows, when the site does not answer, and when nobody is logged in any
// more. Used by the overview and by a job's page: jobsLive(".box", every, done).
"use strict";
{
  const PATIENCE = 15000;
  // The longest pause between two requests, in seconds.
  const LONGEST = 300;
  const FOCUSED = "a[href], button, summary, input, select, textarea";

  window.jobsLive = (name, done) => {
    let box = document.querySelector(name);
    if (!box || !box.dataset.url) return;
    let heard = new Date();
    let timer = 0;
    let isAsking = false;
    let isPressed = false;
    // How often in a row the site did not answer: it is asked ever more rarely then.
    let failures = 0;

    function tell(what, isShown) {
      const told = box.querySelector(what);
      if (told) told.hidden = !isShown;
    }

    // As the page writes its own.
    const clock = () => heard.toTimeString().slice(0, 8);

    function tellTime() {
      box.querySelectorAll(".jobs-as-of time").forEach((one) => {
        one.textContent = clock();
      });
      tell(".jobs-as-of", true);
    }

    // What is pressed, typed or selected would be taken from under one's hands.
    function isBusy() {
      const chosen = document.getSelection();
      const focused = document.activeElement;
      return isPressed
        || (box.contains(focused) && focused.matches("input:not([type=hidden]), select, textarea"))
        || (chosen && !chosen.isCollapsed && box.contains(chosen.anchorNode));
    }

    function replace(found) {
      const scrolled = [...box.querySelectorAll(".jobs-wide")].map((one) => one.scrollLeft);
      const wasOpen = [...box.querySelectorAll("details")].map((one) => one.open);
      const focused = [...box.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
      box.replaceWith(found);
      box = found;
      box.querySelectorAll(".jobs-wide").forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
      box.querySelectorAll("details").forEach((one, i) => {
        if (wasOpen[i] !== undefined) one.open = wasOpen[i];
      });
      if (focused >= 0) {
        const again = box.querySelectorAll(FOCUSED)[focused];
        if (again) again.focus({ preventScroll: true });
      }
      document.dispatchEvent(new Event("jobs:replaced"));
    }

    // Whether to go on.
    async function read() {
      const answer = await fetch(box.dataset.url, { signal: AbortSignal.timeout(PATIENCE) });
      if (answer.redirected || answer.status === 403 || answer.status === 404) {
        tell(".jobs-gone", true);
        return false;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = fresh.querySelector(name);
      if (!found) throw new Error("not what was asked for");
      if (isBusy()) {
        tell(".jobs-waits", true);
        return true;
      }
      heard = new Date();
      replace(found);
      tellTime();
      if (found.dataset.url) return true;
      if (done) done();
      return false;
    }

    async function refresh() {
      if (isAsking) return;
      isAsking = true;
      let goesOn = true;
      try {
        goesOn = await read();
        failures = 0;
      } catch {
        failures += 1;
        const told = box.querySelector(".jobs-lost span");
        if (told) told.textContent = clock();
        tell(".jobs-lost", true);
      }
      isAsking = false;
      if (goesOn) plan();
    }

    function plan() {
      clearTimeout(timer);
      if (document.visibilityState !== "visible") return;
      const pause = Number(box.dataset.every) * 2 ** Math.min(failures, 6);
      timer = setTimeout(refresh, 1000 * Math.min(pause, LONGEST));
    }

    document.addEventListener("pointerdown", () => { isPressed = true; });
    for (const name of ["pointerup", "pointercancel"]) {
      document.addEventListener(name, () => { isPressed = false; });
    }
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") refresh();
      else clearTimeout(timer);
    });
    tellTime();
    plan();
  };
}
