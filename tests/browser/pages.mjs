// Which part of the dashboard is driven against the gateway itself, and which against a stand-in that answers as the
// control plane's contract says. A part goes to "gateway" as soon as its endpoints are there.

export const PAGES = ["overview", "categories", "decisions", "entries", "playground", "policies", "sources", "fixtures"];

export const PARTS = {
  overview: "gateway",
  // A category trips only after hundreds of audits.
  trips: "stand-in",
  categories: "gateway",
  decisions: "gateway",
  entries: "gateway",
  playground: "gateway",
  policies: "gateway",
  sources: "gateway",
  fixtures: "gateway",
};
