// The console's few scripts: searching a list of boxes, selects that submit, printing. Photos: gallery.js.
"use strict";

for (const pick of document.querySelectorAll(".dx-pick")) {
  const search = pick.querySelector(".dx-pick-search");
  search?.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    for (const label of pick.querySelectorAll("label")) {
      label.hidden = !label.textContent.toLowerCase().includes(wanted);
    }
    for (const group of pick.querySelectorAll(".dx-pick-group")) {
      group.hidden = !group.querySelector("label:not([hidden])");
    }
  });
  search?.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}

for (const select of document.querySelectorAll("select[data-submits]")) {
  select.addEventListener("change", () => select.form.submit());
}

for (const button of document.querySelectorAll("[data-unfolds]")) {
  button.addEventListener("click", () => {
    for (const section of button.closest(".dx-card").querySelectorAll(".dx-section")) {
      section.open = true;
    }
    button.parentElement.remove();
  });
}

for (const button of document.querySelectorAll("[data-prints]")) {
  button.addEventListener("click", () => window.print());
}
