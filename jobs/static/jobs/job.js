// A job's life is read anew while it lives (see live.js), and the page once it has ended, since the rest
// has changed, too. And a button copies it as Python.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  window.jobsLive(".jobs-life-box", () => document.location.reload());
  const box = document.querySelector(".jobs-copy");
  const button = box && box.querySelector("button");
  if (!button || !navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("pre").textContent);
    box.querySelector("[role=status]").textContent = "✓";
  });
});
