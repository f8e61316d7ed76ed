// The overview refreshes itself (see live.js).
"use strict";
document.addEventListener("DOMContentLoaded", () => window.jobsLive(".jobs-overview"));
