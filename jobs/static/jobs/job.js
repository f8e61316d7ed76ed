// Follows a job while it lives and is looked at: its life is read anew every other second. And copies
// it as Python.
"use strict";
{
  const EVERY = 2000;
  const PATIENCE = 15000;

  function follow() {
    let box = document.querySelector(".jobs-life-box");
    if (!box) return;
    let heard = new Date();
    let isPressed = false;
    document.addEventListener("pointerdown", () => { isPressed = true; });
    document.addEventListener("pointerup", () => { isPressed = false; });

    // What is focused, selected or pressed would be taken from under one's hands.
    function isBusy() {
      const chosen = document.getSelection();
      return isPressed || box.contains(document.activeElement)
        || (chosen && !chosen.isCollapsed && box.contains(chosen.anchorNode));
    }

    function replace(found) {
      const wasOpen = [...box.querySelectorAll("details")].map((one) => one.open);
      box.replaceWith(found);
      box = found;
      box.querySelectorAll("details").forEach((one, i) => {
        if (wasOpen[i] !== undefined) one.open = wasOpen[i];
      });
    }

    async function refresh() {
      if (document.visibilityState === "visible") {
        try {
          const answer = await fetch(box.dataset.url, { signal: AbortSignal.timeout(PATIENCE) });
          if (answer.redirected || answer.status === 403 || answer.status === 404) {
            // Logged out, or the job is gone: reading the page again says which.
            return;
          }
          if (!answer.ok) throw new Error(answer.statusText);
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const found = fresh.querySelector(".jobs-life-box");
          if (!found) throw new Error("no life");
          heard = new Date();
          if (!isBusy()) {
            replace(found);
            if (!found.dataset.url) {
              // It has ended: the rest of the page has changed, too.
              document.location.reload();
              return;
            }
          }
        } catch {
          const told = box.querySelector(".jobs-lost");
          told.querySelector("span").textContent = heard.toLocaleTimeString();
          told.hidden = false;
        }
      }
      setTimeout(refresh, EVERY);
    }
    if (box.dataset.url) setTimeout(refresh, EVERY);
  }

  function copy() {
    const box = document.querySelector(".jobs-copy");
    const button = box && box.querySelector("button");
    if (!button || !navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("pre").textContent);
      box.querySelector("[role=status]").textContent = "✓";
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    follow();
    copy();
  });
}
