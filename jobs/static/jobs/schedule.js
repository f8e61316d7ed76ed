// Shows what a schedule means while somebody types: its rule in words, its next runs, and how its
// task is called. And only the fields of its kind.
"use strict";
{
  const FIELDS = {
    cron: ["line", "timezone", "days"],
    interval: ["interval", "anchor"],
    at: ["anchor"],
    solar: ["event", "latitude", "longitude"],
  };
  const ALL = [...new Set(Object.values(FIELDS).flat())];

  function showOwnFields(kind) {
    for (const name of ALL) {
      const row = document.querySelector(`.form-row.field-${name}`);
      if (row) row.hidden = kind !== "" && !(FIELDS[kind] || ALL).includes(name);
    }
  }

  function show(box, told) {
    box.hidden = false;
    box.querySelector(".jobs-words").textContent = told.words;
    box.querySelector(".jobs-wrong").textContent = told.error;
    box.querySelector(".jobs-signature").textContent = told.signature;
    box.querySelector(".jobs-about").textContent = told.about;
    const runs = told.runs.map((run) => {
      const item = document.createElement("li");
      item.textContent = run;
      return item;
    });
    box.querySelector("ol").replaceChildren(...runs);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const box = document.querySelector(".jobs-preview");
    const form = document.querySelector("#schedule_form");
    if (!box || !form) return;
    const when = document.querySelector(".jobs-when");
    if (when) when.append(box);
    let latest = 0;
    let timer = 0;

    async function ask() {
      const number = ++latest;
      const answer = await fetch(box.dataset.url, { method: "POST", body: new FormData(form) });
      if (!answer.ok) return;
      const told = await answer.json();
      // What was asked later may have been answered sooner.
      if (number === latest) show(box, told);
    }

    function changed() {
      showOwnFields(form.elements.kind.value);
      clearTimeout(timer);
      timer = setTimeout(ask, 150);
    }

    form.addEventListener("input", changed);
    form.addEventListener("change", changed);
    changed();
  });
}
