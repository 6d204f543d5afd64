// The service worker that shows notices pushed to this browser, and opens what they are about.
"use strict";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  let notice = {};
  try {
    notice = event.data.json();
  } catch {
    notice = {};
  }
  // A browser that shows nothing for a push withdraws the permission.
  const title = notice.title || "督学 Duxue";
  event.waitUntil(self.registration.showNotification(title, {
    body: notice.body || "",
    tag: notice.notice || "duxue",
    renotify: false,
    requireInteraction: Boolean(notice.urgent),
    icon: "/static/console/favicon.svg",
    data: { link: notice.link || "/" },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const link = new URL(event.notification.data.link, self.location.origin);
  // Only our own pages: whoever could forge a push must not choose where a click leads.
  const target = link.origin === self.location.origin ? link.href : self.location.origin;
  event.waitUntil(self.clients.openWindow(target));
});
