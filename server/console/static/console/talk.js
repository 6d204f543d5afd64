// One open conversation: fetches what is new when its socket says so, and every few seconds while there
// is no socket; sends without leaving the page, tells what was read.
"use strict";

const talk = document.querySelector(".dx-talk");
if (talk) {
  const log = talk.querySelector(".dx-log");
  const form = talk.querySelector(".dx-write");
  const failed = form.querySelector("[data-part=error]");
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  const seconds = Number(talk.dataset.poll);
  const LIVE_SHARE = 12; // with a socket it asks so many times less often
  let last = Number(talk.dataset.last);
  let etag = "";
  let busy = false;
  let again = false;
  const PATIENCE = 24;
  let patience = PATIENCE;

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
    if (log.scrollHeight <= log.clientHeight + 1) form.scrollIntoView({ block: "end" });
  };

  const tellRead = () => {
    if (!talk.dataset.read || document.hidden || "past" in talk.dataset) return;
    const body = new URLSearchParams({ number: String(last) });
    fetch(talk.dataset.read, { method: "POST", body, headers: { "X-CSRFToken": token } }).catch(() => {});
  };

  const hide = (number) => {
    const said = log.querySelector(`[data-number="${number}"]`);
    if (!said || said.classList.contains("dx-line")) return;
    said.className = "dx-line";
    said.textContent = form.dataset.gone;
  };

  // A day has one heading, however many answers its messages came in.
  const oneHeadingADay = () => {
    let day = "";
    for (const heading of log.querySelectorAll(".dx-day")) {
      if (heading.dataset.day === day) heading.remove();
      day = heading.dataset.day;
    }
  };

  const add = (answer, where) => {
    log.querySelector(".dx-empty")?.remove();
    const part = document.createElement("template");
    part.innerHTML = answer.html;
    for (const said of part.content.querySelectorAll("[data-number]")) {
      log.querySelector(`[data-number="${said.dataset.number}"]`)?.remove();
    }
    where === "before" ? log.prepend(part.content) : log.append(part.content);
    answer.gone.forEach(hide);
    oneHeadingADay();
  };

  const poll = async () => {
    if (document.hidden || !talk.dataset.more || "past" in talk.dataset) return;
    if (busy) {
      again = true; // what came meanwhile
      return;
    }
    busy = true;
    again = false;
    try {
      let more = true;
      // A file that was not there yet: everything from its message on is fetched again, for a while.
      const waiting = patience > 0 && log.querySelector("[data-pending]");
      let from = waiting ? Number(waiting.dataset.number) - 1 : last;
      if (waiting) patience -= 1;
      while (more) {
        const headers = etag && !waiting ? { "If-None-Match": etag } : {};
        const response = await fetch(`${talk.dataset.more}?after=${from}`, { headers, cache: "no-store" });
        if (response.status !== 200) break;
        const answer = await response.json();
        const follow = atEnd();
        // Only what was asked for with this place may be answered with 304.
        etag = answer.last === last && from === last ? response.headers.get("ETag") : "";
        if (answer.last > from) add(answer, "after");
        if (answer.last > last) {
          last = answer.last;
          patience = PATIENCE;
          if (follow) toEnd();
          tellRead();
        }
        from = answer.last;
        more = answer.has_more;
      }
    } catch {
      // No line: the next turn asks again.
    } finally {
      busy = false;
    }
    if (again) await poll();
  };

  talk.querySelector("[data-earlier]")?.addEventListener("click", async (event) => {
    const link = event.currentTarget;
    if (!talk.dataset.more) return;
    event.preventDefault();
    const response = await fetch(`${talk.dataset.more}?before=${link.dataset.earlier}`);
    if (!response.ok) return location.assign(link.href);
    const answer = await response.json();
    const height = log.scrollHeight;
    add(answer, "before");
    log.scrollTop += log.scrollHeight - height;
    link.dataset.earlier = answer.first;
    link.href = `?before=${answer.first}`;
    if (!answer.has_more) link.parentElement.remove();
  });

  const say = (words) => {
    failed.textContent = words;
    failed.hidden = !words;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    say("");
    try {
      const body = new FormData(form);
      const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      const answer = await response.json();
      if (answer.error) say(answer.error);
      else if (!talk.dataset.more) location.assign(answer.page);
      else {
        form.reset();
        form.querySelector("[name=message_id]").value = answer.next_id;
        form.querySelector(".dx-people")?.removeAttribute("open");
        showFiles();
        await poll();
        toEnd();
      }
    } catch {
      // The same id goes again: what did arrive is not written twice.
      say(form.dataset.offline);
    } finally {
      button.disabled = false;
    }
  });

  form.elements.text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  for (const box of form.querySelectorAll("[name=mentions]")) {
    box.addEventListener("change", () => {
      const text = form.elements.text;
      const name = `@${box.dataset.name}`;
      if (box.checked && !text.value.includes(name)) text.value += `${text.value && !text.value.endsWith(" ") ? " " : ""}${name} `;
      if (!box.checked) text.value = text.value.replace(`${name} `, "").replace(name, "");
    });
  }

  const chosen = form.elements.files;
  const label = form.querySelector("[data-part=files]");
  const words = label.textContent;
  const showFiles = () => {
    const names = [...chosen.files].map((file) => file.name);
    label.textContent = names.length ? `${names[0].slice(-18)}${names.length > 1 ? ` +${names.length - 1}` : ""}` : words;
  };
  chosen.addEventListener("change", showFiles);

  const unread = document.getElementById("unread");
  const target = location.hash && document.querySelector(location.hash);
  if (target) target.scrollIntoView({ block: "center" });
  else if (unread) unread.scrollIntoView({ block: "center" });
  else toEnd();
  tellRead();
  let turn = 0;
  let live = false;
  setInterval(() => {
    turn += 1;
    if (!live || turn % LIVE_SHARE === 0 || log.querySelector("[data-pending]")) poll();
  }, seconds * 1000);
  if (talk.dataset.more) keepSocket(talk.dataset.socket, {
    heard: (hint) => {
      if (hint.conversation === talk.dataset.conversation || hint.type === "inbox.changed") poll();
    },
    turned: (state) => {
      live = state === "live";
      if (live) poll(); // what came while it was away
    },
  });
  document.addEventListener("visibilitychange", () => { poll(); tellRead(); });
}
