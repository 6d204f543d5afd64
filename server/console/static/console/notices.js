// Writing notices: drafts, files, questions, people, preview. The board: asks again while it is looked at.
"use strict";

const compose = document.querySelector(".dx-compose");
const writing = compose || document.querySelector(".dx-compose-one");
const board = document.querySelector("#board[data-live]");

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

function chip(list, name, value, words, detail) {
  const remove = element("button", { type: "button", textContent: "×", ariaLabel: writing.dataset.wordsRemove });
  const hidden = element("input", { type: "hidden", name, value });
  const line = element("li", {}, hidden, `${words} `);
  if (detail) line.append(element("span", { className: "dx-quiet", textContent: detail }), " ");
  line.append(remove);
  list.append(line);
  return line;
}

if (writing) {
  const token = writing.querySelector("[name=csrfmiddlewaretoken]").value;
  const changed = () => writing.dispatchEvent(new Event("input", { bubbles: true }));

  writing.addEventListener("click", (event) => {
    const remove = event.target.closest(".dx-picked button");
    if (remove) {
      remove.parentElement.remove();
      changed();
    }
  });

  // ---- variables, at the cursor ----
  let last = writing.querySelector("[name=body]");
  for (const field of writing.querySelectorAll("[name=title], [name=body]")) {
    field.addEventListener("focus", () => { last = field; });
  }
  for (const button of writing.querySelectorAll(".dx-variable")) {
    button.addEventListener("click", () => {
      last.setRangeText(button.dataset.variable, last.selectionStart, last.selectionEnd, "end");
      last.focus();
      changed();
    });
  }

  // ---- files: each is sent when it is chosen ----
  const input = writing.querySelector("[name=files]");
  const files = writing.querySelector(".dx-files");
  input?.addEventListener("change", async () => {
    for (const file of [...input.files]) await attach(file);
    input.value = "";
  });

  async function attach(file) {
    const line = element("li", {}, `${file.name} `, element("span", { className: "dx-quiet", textContent: writing.dataset.wordsSending }));
    const refuse = (words) => {
      line.replaceChildren(element("span", { className: "dx-wrong", textContent: `${file.name}：${words}` }), element("button", { type: "button", textContent: "×" }));
    };
    files.append(line);
    if (files.querySelectorAll("[name=attachments]").length >= Number(writing.dataset.files)) return refuse(writing.dataset.wordsMany);
    if (file.size > Number(writing.dataset.bytes)) return refuse(writing.dataset.wordsLarge);
    const body = new FormData();
    body.append("file", file);
    try {
      const answer = await fetch(writing.dataset.attach, { method: "POST", body, headers: { "X-CSRFToken": token } });
      const told = await answer.json();
      if (!answer.ok) return refuse(told.detail);
      line.remove();
      chip(files, "attachments", told.id, told.name, `${Math.ceil(told.size / 1024)} KB`);
      changed();
    } catch {
      refuse("…");
    }
  }
}

if (compose) {
  const token = compose.querySelector("[name=csrfmiddlewaretoken]").value;

  // ---- questions ----
  const stored = compose.querySelector("[name=questions]");
  const asked = compose.querySelector(".dx-asked");
  const pattern = compose.querySelector("template.dx-ask");
  const asks = compose.querySelector(".dx-asks");
  const part = (line, name) => line.querySelector(`[data-part=${name}]`);

  function ask(question = {}) {
    const line = pattern.content.firstElementChild.cloneNode(true);
    line.dataset.id = question.id || "";
    part(line, "kind").value = question.kind || "text";
    part(line, "label").value = question.label || "";
    part(line, "options").value = (question.options || []).join("\n");
    part(line, "required").checked = question.required !== false;
    asked.append(line);
    fit(line);
    return line;
  }
  function fit(line) {
    part(line, "options").hidden = !part(line, "kind").value.startsWith("choice");
  }
  function gather() {
    const lines = [...asked.children];
    const taken = new Set(lines.map((line) => line.dataset.id));
    stored.value = JSON.stringify(lines.map((line) => {
      let number = 1;
      while (!line.dataset.id && taken.has(`q${number}`)) number += 1;
      if (!line.dataset.id) taken.add((line.dataset.id = `q${number}`));
      return {
        id: line.dataset.id,
        kind: part(line, "kind").value,
        label: part(line, "label").value,
        required: part(line, "required").checked,
        options: part(line, "options").value.split("\n").map((option) => option.trim()).filter(Boolean),
      };
    }));
  }
  function showAsks() {
    const wanted = compose.querySelector("[name=requires]:checked")?.value === "answer";
    asks.hidden = !wanted;
    if (wanted && !asked.children.length) ask();
  }
  try {
    for (const question of JSON.parse(stored.value || "[]")) ask(question);
  } catch {
    stored.value = "";
  }
  asked.addEventListener("input", (event) => {
    const line = event.target.closest("li");
    if (line) fit(line);
  });
  asked.addEventListener("click", (event) => {
    if (event.target.dataset.part === "remove") {
      event.target.closest("li").remove();
      compose.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
  compose.querySelector(".dx-add-ask").addEventListener("click", () => {
    if (asked.children.length < 10) part(ask(), "label").focus();
  });
  showAsks();

  // ---- people, by a part of the name ----
  const find = compose.querySelector(".dx-find");
  const found = compose.querySelector(".dx-found");
  const picked = compose.querySelector("[data-name=people]");
  let asking;
  find.addEventListener("input", (event) => {
    event.stopPropagation();
    clearTimeout(asking);
    asking = setTimeout(look, 250);
  });
  find.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  async function look() {
    const words = find.value.trim();
    found.hidden = !words;
    if (!words) return;
    const answer = await fetch(`${compose.dataset.people}?q=${encodeURIComponent(words)}`);
    const { people } = await answer.json();
    found.replaceChildren(...people.map(({ id, name, phone }) => {
      const button = element("button", { type: "button", textContent: `${name} ${phone}` });
      button.addEventListener("click", () => {
        if (!picked.querySelector(`[value="${id}"]`)) chip(picked, "people", id, name);
        find.value = "";
        found.hidden = true;
        compose.dispatchEvent(new Event("input", { bubbles: true }));
      });
      return button;
    }));
    if (!people.length) found.append(element("p", { textContent: compose.dataset.wordsNone }));
  }

  // ---- the preview, and the draft ----
  const panel = document.querySelector("#preview");
  const kept = compose.querySelector(".dx-kept");
  let previewing, drafting, before = "";

  function values(extra = {}) {
    gather();
    const data = new FormData(compose);
    data.delete("files");
    for (const [name, value] of Object.entries(extra)) data.set(name, value);
    return data;
  }
  async function preview(extra = {}) {
    const data = values({ ...extra, do: "preview" });
    const answer = await fetch(location.href, { method: "POST", body: data, headers: { "X-CSRFToken": token } });
    if (answer.ok) panel.innerHTML = await answer.text();
  }
  const readers = () => JSON.stringify([...new FormData(compose)].filter(([name]) =>
    ["areas", "schools", "activity", "activity_people", "roles", "stages", "lists", "people", "urgent"].includes(name)));
  async function keep() {
    try {
      const answer = await fetch(compose.dataset.draft, { method: "POST", body: values(), headers: { "X-CSRFToken": token } });
      const told = await answer.json();
      kept.textContent = answer.ok && told.kept ? `${compose.dataset.wordsKept} ${told.at}` : told.detail || "";
    } catch {
      kept.textContent = compose.dataset.wordsLost;
    }
  }
  compose.addEventListener("input", () => {
    showAsks();
    clearTimeout(drafting);
    drafting = setTimeout(keep, 2000);
    const now = readers();
    if (now !== before) {
      before = now;
      clearTimeout(previewing);
      previewing = setTimeout(preview, 500);
    }
  });
  compose.addEventListener("click", (event) => {
    const button = event.target.closest(".dx-do-preview, .dx-do-names");
    if (!button) return;
    event.preventDefault();
    const extra = button.name && button.name !== "do" ? { [button.name]: button.value } : {};
    if (button.dataset.onlyInbox) extra.only_inbox = "1";
    preview(extra);
  });
  compose.addEventListener("submit", () => {
    clearTimeout(drafting);
    gather();
  });
  before = readers();
  if (compose.querySelector(".dx-pick input:checked, [name=people]")) preview();
}

if (board) {
  let etag = "";
  const EVERY = 5000;
  async function ask() {
    if (document.hidden || board.contains(document.activeElement)) return;
    try {
      const answer = await fetch(board.dataset.live + location.search, { cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
      if (answer.status !== 200) return;
      etag = answer.headers.get("ETag");
      const open = Boolean(board.querySelector(".dx-ways[open]"));
      board.innerHTML = await answer.text();
      if (open) board.querySelector(".dx-ways").open = true;
    } catch {
      // away for a moment: the next turn asks again
    }
  }
  setInterval(ask, EVERY);
}
