
/* The theme, the run in detail, and the metric of a forest plot. */
function startTheme() {
  const button = document.getElementById("theme");
  const names = { "": "automatic", light: "light", dark: "dark" };
  const order = Object.keys(names);
  const show = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.textContent = `Theme: ${names[theme]}`;
  };
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme || "";
    show(order[(order.indexOf(now) + 1) % order.length]);
  });
  button.hidden = false;
}

function startChoosers() {
  document.querySelectorAll(".chooser").forEach((chooser) => {
    const select = chooser.querySelector("select");
    select.addEventListener("change", () => {
      chooser.querySelectorAll(".option").forEach((option) => option.classList.toggle("chosen", option.id === select.value));
    });
    select.parentElement.hidden = false;
  });
  const run = document.getElementById("run");
  if (!run) return;
  run.addEventListener("change", () => {
    document.querySelectorAll(".of-run").forEach((part) => part.classList.toggle("chosen", part.dataset.run === run.value));
  });
  run.parentElement.hidden = false;
}

document.addEventListener("DOMContentLoaded", () => {
  startTheme();
  startChoosers();
});
