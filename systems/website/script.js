"use strict";

// Says how long this page took, from the first packet to the last byte, as the browser measured it; and what it shows.
addEventListener("load", () => {
  const [page] = performance.getEntriesByType("navigation");
  const line = document.getElementById("measure");
  if (!page || !line) {
    return;
  }
  const milliseconds = Math.max(1, Math.round(page.responseEnd - page.startTime));
  const protocol = location.protocol === "https:" ? "over HTTPS" : "without TLS";
  const pictures = [...document.images].filter((image) => image.naturalWidth > 0).length;
  const shown = ["", ", and a picture"][pictures] ?? `, and ${pictures} pictures`;
  line.textContent = `This page came ${protocol} in ${milliseconds} ms: ${page.encodedBodySize} bytes for ` +
    `${page.decodedBodySize}${shown}.`;
});
