// Why: the state's path over the videos, the events it rests on, and what moved each score.

import { $, ago, ask, fillViewers, html, kindWords, swatch, viewer } from "./common.js";

const PARTS = { author: "author", tags: "tags", music: "music", viewers: "viewers", media: "look and sound" };
const SHORT = { user: "u", video: "v", bias: "b", interaction: "u·v" };
const did = (one) => [one.watch_ratio == null ? "" : `watched ${Math.round(100 * one.watch_ratio)} %`, ...one.actions]
  .filter(Boolean).join(", ") || "watched";
let user, shown = "", reading = false;

async function look() {
  if (!$("follow").checked && shown) return;
  try {
    const found = await ask(`/c/explanation?user=${encodeURIComponent(user)}`);
    $("held").textContent = `held by worker ${found.worker}` + (found.policy === "online" ? "" : ` · policy “${found.policy}”`);
    const key = JSON.stringify([user, found.state, found.slate?.slate_id, found.model_version]);
    if (key === shown) return;
    if (reading && shown) { $("held").textContent = "waits while you read"; return; }
    shown = key;
    draw(found);
  } catch (error) {
    $("held").textContent = error.message;
  }
}

function draw(found) {
  const { state } = found;
  $("state-facts").textContent = `${state.steps} steps · ${state.seen_videos} seen · model v${found.model_version}`;
  $("slate-facts").textContent = found.slate
    ? `${found.slate.candidates.toLocaleString("en")} candidates · slate by v${found.slate.model_version}` : "no slate held";
  map(found.map);
  $("events").innerHTML = found.events.map((one, n) => ({ one, n })).reverse().map(({ one, n }) => `<li id="event-${n}">
    <i style="background:${swatch(one.video)}"></i><div><b dir="auto">${html(one.video?.title || one.video?.video_id || "no longer known")}</b>
    <span class="dim">@${html(one.video?.author_id || "")} ${(one.video?.tags || []).map((t) => `#${html(t)}`).join(" ")}</span></div>
    <span class="did ${one.actions.includes("skip") || one.actions.includes("hide") ? "no" : ""}">${html(did(one))}</span></li>`).join("")
    || '<li class="dim none">Nothing yet: a newcomer’s slate is what suits most.</li>';
  const most = Math.max(0.2, ...found.items.flatMap((one) => Object.values(one.parts).map(Math.abs)));
  $("items").innerHTML = found.items.map((one) => item(one, found.events, most)).join("");
}

function item(one, events, most) {
  const bars = Object.entries(PARTS).map(([name, label]) => {
    const value = one.parts[name] ?? 0, width = 50 * Math.min(1, Math.abs(value) / most);
    const side = value < 0 ? `right:50%` : `left:50%`;
    return `<div class="part" title="${label}: ${value.toFixed(3)}"><span>${label}</span><div><i class="${value < 0 ? "no" : ""}" style="${side};width:${width}%"></i></div>
      <span class="num">${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}</span></div>`;
  }).join("");
  const terms = Object.entries(one.terms).map(([name, value]) =>
    `<span title="${name}">${SHORT[name] || name} ${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}</span>`).join("");
  return `<li><div class="what"><i style="background:${swatch(one.video)}"></i><div><b dir="auto">${html(one.video.title || one.video.video_id)}</b>
    <span class="dim">${html(kindWords(one.video))} @${html(one.video.author_id)} ${one.video.tags.map((t) => `#${html(t)}`).join(" ")}</span>
    <span class="dim">${ago(1000 * one.age_s)} old when chosen</span></div></div>
    <div class="score"><b class="num">${one.score.toFixed(3)}</b><span class="dim">${one.explored ? `explored ${one.propensity.toPrecision(1)}` : `position ${one.position + 1}`}</span></div>
    <div class="parts">${bars}<div class="terms dim num">${terms}</div></div>
    <div class="because">${because(one, events)}</div></li>`;
}

function reason(path) {
  if (path.kind === "follows") return `you follow ${path.author_id}`;
  if (path.kind === "friend") return `your friend ${path.user_id} liked it`;
  if (path.kind === "related") return `you watched ${path.video_id}, ${path.name} goes with ${path.to}`;
  return `you watched ${path.video_id}, ${path.through === "product" ? "which goes with" : "also of"} ${path.through} ${path.name}`;
}

function because(one, events) {
  if (one.explored) return '<span class="dim">drawn by chance, to learn</span>';
  return (one.paths || []).slice(0, 1).map((path) => `<span class="path" dir="auto">${html(reason(path))}</span><br>`).join("") + one.because.map(({ event, effect }) => {
    const source = events[event];
    return `<span class="${effect < 0 ? "no" : "yes"}">${effect >= 0 ? "+" : "−"}${Math.abs(effect).toFixed(2)}</span> <span dir="auto">${html(did(source))}
      ${html(source.video?.title || source.video?.video_id || "a video")}</span><br>`;
  }).join("") || '<span class="dim">the state as a whole</span>';
}

function map({ videos, trail, items }) {
  const at = ([x, y]) => [Math.max(-1.42, Math.min(1.42, x)), Math.max(-1.42, Math.min(1.42, -y))];
  const dots = (points, r, name) => points.map((p) => { const [x, y] = at(p); return `<circle cx="${x}" cy="${y}" r="${r}" class="${name}"/>`; }).join("");
  const path = trail.map(at);
  const line = path.map(([x, y], n) => `${n ? "L" : "M"}${x} ${y}`).join("");
  const steps = path.map(([x, y], n) => `<circle cx="${x}" cy="${y}" r="${n === path.length - 1 ? 0.055 : 0.018}" class="step ${n === path.length - 1 ? "now" : ""}"
    style="opacity:${0.25 + 0.75 * (n + 1) / path.length}"/>`).join("");
  $("map").innerHTML = `<path d="M-1.5 0H1.5M0-1.5V1.5" class="axis"/>${dots(videos, 0.014, "video")}${dots(items, 0.032, "item")}<path d="${line}" class="trail"/>${steps}`;
}

function start() {
  if (!$("items")) { setTimeout(start, 30); return; }
  user = viewer.get();
  $("viewer").value = user;
  const choose = () => {
    const name = $("viewer").value.trim();
    if (!name) return;
    user = name; viewer.set(name); shown = ""; $("follow").checked = true; look();
  };
  $("b-show").onclick = choose;
  $("viewer").addEventListener("keydown", (e) => { if (e.key === "Enter") choose(); });
  $("viewer").addEventListener("change", choose);
  for (const id of ["items", "events"]) {
    $(id).addEventListener("pointerenter", () => { reading = true; });
    $(id).addEventListener("pointerleave", () => { reading = false; });
  }
  fillViewers();
  setInterval(fillViewers, 5000);
  setInterval(look, 1500);
  look();
}
start();
