// Tells the site in which time zone the viewer is (see jobs/admin/zones.py).
"use strict";
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const told = `jobs_zone=${zone}`;
  if (zone && !document.cookie.split("; ").includes(told)) {
    document.cookie = `${told}; path=/; max-age=31536000; samesite=lax`;
  }
}
