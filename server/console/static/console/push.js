// Turning notices in this browser on and off. Every outcome is said in words beside the button.
"use strict";

const PATIENCE = 15_000;

for (const box of document.querySelectorAll("[data-push]")) {
  const on = box.querySelector("[data-push-on]");
  const off = box.querySelector("[data-push-off]");
  const says = box.querySelector("[role=status]");
  const words = JSON.parse(box.querySelector("script").textContent);
  const say = (key, more = "") => {
    says.textContent = words[key] + more;
    says.dataset.outcome = key;
  };
  const show = (subscribed) => {
    on.hidden = subscribed;
    off.hidden = !subscribed;
  };

  const browserId = () => {
    const kept = localStorage.getItem("duxue-browser");
    if (kept) {
      return kept;
    }
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const id = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("duxue-browser", id);
    return id;
  };

  const tell = (method, body) => fetch(box.dataset.push, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRFToken": box.dataset.token },
    body: JSON.stringify({ browser: browserId(), ...body }),
  });

  const keyBytes = () => {
    const text = box.dataset.key.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  };

  const store = async (subscription) => {
    const name = navigator.userAgentData?.platform || navigator.platform || "";
    const answer = await tell("POST", { name, subscription: subscription.toJSON() });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      await subscription.unsubscribe();
      say("refused", problem.detail || "");
      return;
    }
    show(true);
    say("on");
  };

  // Where the push service is not to be reached, Chrome goes on trying for ever.
  const tooLong = () => new Promise((_resolve, reject) => {
    setTimeout(() => reject(new DOMException("", "AbortError")), PATIENCE);
  });

  const registered = () => navigator.serviceWorker.register("/push/worker.js", { scope: "/push/" });

  on.addEventListener("click", async () => {
    on.disabled = true;
    say("working");
    try {
      if (await Notification.requestPermission() !== "granted") {
        say("denied");
        return;
      }
      const registration = await registered();
      await new Promise((resolve) => {
        const worker = registration.installing || registration.waiting || registration.active;
        if (worker.state === "activated") {
          resolve();
        }
        worker.addEventListener("statechange", () => worker.state === "activated" && resolve());
      });
      await store(await Promise.race([
        registration.pushManager.subscribe({
          userVisibleOnly: true,
          applicationServerKey: keyBytes(),
        }),
        tooLong(),
      ]));
    } catch (error) {
      // Chrome without a way to Google, for instance.
      say(error.name === "AbortError" || error.name === "NotAllowedError" ? "unreachable" : "failed");
    } finally {
      on.disabled = false;
    }
  });

  off.addEventListener("click", async () => {
    const registration = await navigator.serviceWorker.getRegistration("/push/");
    const subscription = await registration?.pushManager.getSubscription();
    await subscription?.unsubscribe();
    await tell("DELETE", {});
    show(false);
    say("off");
  });

  const begin = async () => {
    if (!box.dataset.key) {
      on.disabled = true;
      say("unset");
      return;
    }
    if (!("serviceWorker" in navigator) || !("PushManager" in window) || !isSecureContext) {
      on.disabled = true;
      say(isSecureContext ? "unable" : "insecure");
      return;
    }
    const registration = await navigator.serviceWorker.getRegistration("/push/");
    const subscription = await registration?.pushManager.getSubscription();
    if (subscription) {
      await store(subscription); // a new log-in: the old one's end took it away
      return;
    }
    show(false);
    say(Notification.permission === "denied" ? "denied" : "ready");
  };
  begin();
}
