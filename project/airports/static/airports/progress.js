// Moves the bar while the page is looked at; once the import has finished, the page itself tells.
const bar = document.getElementById("progress");
const told = document.getElementById("told");

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(bar.dataset.url);
      const progress = await answer.json();
      bar.max = progress.total ?? 1;
      bar.value = progress.done;
      told.textContent = `${progress.done} of ${progress.total ?? "?"} lines`;
      if (progress.finished) {
        location.reload();
        return;
      }
    } catch {
      told.textContent = "the site does not answer; trying again";
    }
  }
  setTimeout(look, 500);
}

if (bar) look();
