// A job's life is read anew while it lives (see live.js), and the page once it has ended, since the rest
// has changed, too. A field shows only the lines of a log that have some words, and a button copies
// the call as Python.
"use strict";
{
  let words = "";

  function search() {
    for (const field of document.querySelectorAll(".jobs-log-search")) {
      field.hidden = false;
      if (field.value !== words) field.value = words;
    }
    const wanted = words.toLowerCase();
    for (const line of document.querySelectorAll(".jobs-log > span")) {
      line.hidden = wanted !== "" && !line.textContent.toLowerCase().includes(wanted);
    }
  }

  document.addEventListener("input", (event) => {
    if (!event.target.matches(".jobs-log-search")) return;
    words = event.target.value;
    search();
  });
  document.addEventListener("jobs:replaced", search);
  document.addEventListener("DOMContentLoaded", search);
}
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
