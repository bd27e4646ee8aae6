"use strict";

// Says how long this page took: from the first packet to the last byte, as the browser measured it.
addEventListener("load", () => {
  const [page] = performance.getEntriesByType("navigation");
  const line = document.getElementById("measure");
  if (!page || !line) {
    return;
  }
  const milliseconds = Math.max(1, Math.round(page.responseEnd - page.startTime));
  const protocol = location.protocol === "https:" ? "over HTTPS" : "without TLS";
  line.textContent = `This page came ${protocol} in ${milliseconds} ms: ${page.encodedBodySize} bytes for ` +
    `${page.decodedBodySize}.`;
});
