// The console's few scripts: photos full screen, searching a list of boxes, selects that submit,
// printing.
"use strict";

(function photos() {
  const dialog = document.createElement("dialog");
  dialog.className = "dx-lightbox";
  dialog.innerHTML =
    '<button class="dx-close" type="button">✕</button>' +
    '<button class="dx-back" type="button">‹</button><img alt=""><button class="dx-next" type="button">›</button><p></p>';
  const [close, back, next] = dialog.querySelectorAll("button");
  const chinese = document.documentElement.lang.startsWith("zh");
  close.ariaLabel = chinese ? "关闭" : "Close";
  back.ariaLabel = chinese ? "上一张" : "Previous";
  next.ariaLabel = chinese ? "下一张" : "Next";
  const image = dialog.querySelector("img");
  const caption = dialog.querySelector("p");
  let squares = [];
  let place = 0;

  function show(index) {
    place = (index + squares.length) % squares.length;
    const square = squares[place];
    image.src = square.href;
    image.alt = square.dataset.caption || "";
    caption.textContent = `${place + 1} / ${squares.length}  ${square.dataset.caption || ""}`;
  }

  function open(square) {
    squares = [...document.querySelectorAll("a.dx-photo[data-caption]")];
    if (!dialog.isConnected) document.body.append(dialog);
    show(squares.indexOf(square));
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const square = event.target.closest("a.dx-photo[data-caption]");
    const thumb = event.target.closest("a.dx-thumb");
    const wanted =
      square ||
      (thumb &&
        [...document.querySelectorAll("a.dx-photo[data-caption]")].find(
          (each) => each.getAttribute("href") === thumb.dataset.opens,
        ));
    if (!wanted) return;
    event.preventDefault();
    open(wanted);
  });
  close.addEventListener("click", () => dialog.close());
  back.addEventListener("click", () => show(place - 1));
  next.addEventListener("click", () => show(place + 1));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(place - 1);
    if (event.key === "ArrowRight") show(place + 1);
  });
})();

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
