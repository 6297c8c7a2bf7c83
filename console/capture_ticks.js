// The clock of the capture page. A worker's timer goes on at its pace while the page is behind other windows; the page's own would not.
"use strict";
setInterval(() => postMessage(0), 50);
