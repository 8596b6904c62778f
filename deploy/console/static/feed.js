// The feed: one clip at a time; every swipe is an event, and the next clip comes from the slate that answers it.

import { $, ago, ask, fillViewers, html, kindWords, Refused, swatch, viewer } from "./common.js";
import { Clip } from "./clip.js";

const SKIPPED = 0.25;  // of the duration: less is a skip
const DOES = { product: { type: "purchase", label: "Buy" }, live: { type: "live-enter", label: "Enter" } };
const times = [];
let user, slate, place, clip, card, liked, moving = false, starting = false;

const uid = () => `c-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 9)}`;

function event(type, more = {}) {
  const item = slate.items[place];
  return {
    event_id: uid(), user_id: user, type, event_time_ms: Date.now(), video_id: item.video_id,
    slate_id: slate.slate_id, position: item.position, ...more,
  };
}

function notice(text) { $("notice").textContent = text; $("notice").hidden = !text; }

async function begin(name) {
  if (starting) return;
  starting = true;
  user = name;
  viewer.set(name);
  $("viewer").value = name;
  if (clip) { clip.close(); clip = null; }
  notice("Looking for videos…");
  try {
    take(await ask(`/c/slate?user=${encodeURIComponent(user)}&fresh=true`));
    show("rise");
    notice("");
  } catch (error) {
    notice(`${error.message}. Trying again…`);
    setTimeout(() => begin(user), 1500);
  } finally { starting = false; }
}

function take(next, ms) {
  const before = new Set(slate && slate.user_id === user ? slate.items.map((one) => one.video_id) : []);
  const fresh = next.items.filter((one) => !before.has(one.video_id)).length;
  slate = next;
  place = 0;
  $("pill-model").innerHTML = `model <b>v${next.model_version}</b>`;
  $("slate-facts").textContent = `${next.items.length} of ${next.candidates.toLocaleString("en")} fresh videos`;
  if (ms != null) {
    times.push(ms);
    if (times.length > 40) times.shift();
    $("time").innerHTML = `${ms.toFixed(0)} <small>ms</small>`;
    $("pill-time").innerHTML = `event → slate <b>${ms.toFixed(0)} ms</b>`;
    $("answer").textContent = `${fresh} of ${next.items.length} videos are new in the slate that answers it.`;
    spark();
  }
  queue();
}

function spark() {
  const top = Math.max(100, ...times);
  $("spark").innerHTML = times.map((ms, n) => {
    const height = Math.max(2, 46 * ms / top);
    return `<rect x="${8 * n}" y="${48 - height}" width="6" height="${height}" rx="1.5" class="${n === times.length - 1 ? "now" : ""}"/>`;
  }).join("");
}

function queue() {
  const rows = slate.items.slice(place + 1, place + 7).map((one) => {
    const video = one.video || {};
    return `<li><i style="background:${swatch(video)}"></i><span class="name">${html(video.title || one.video_id)}</span>
      <span class="dim">${html(kindWords(video) || (one.explored ? "explored" : video.author_id))}</span><span class="num">${one.score.toFixed(2)}</span>
      <em style="--s:${one.score}"></em></li>`;
  });
  while (rows.length < 6) rows.push('<li class="empty"></li>');
  $("queue").innerHTML = rows.join("");
}

function show(how) {
  const item = slate.items[place], video = item.video || { video_id: item.video_id, tags: [] };
  const old = card;
  card = document.createElement("article");
  card.className = `clip ${how}`;
  card.dataset.video = item.video_id;
  card.dataset.slate = slate.slate_id;
  const tags = video.tags.map((one) => `<span>#${html(one)}</span>`).join(" ");
  card.innerHTML = `<div class="shade"></div><div class="words"><b>@${html(video.author_id || "unknown")}</b>
    <p dir="auto">${html(video.title)}</p><div class="tags">${tags}</div>
    <div class="meta">${kindWords(video) ? `<span class="kind">${html(kindWords(video))}</span>` : ""}<span>score ${item.score.toFixed(2)}</span>${item.explored ? "<span>explored</span>" : ""}
    <span>${video.published_ms ? `${ago(Date.now() - video.published_ms)} old` : ""}</span>
    ${video.music_id ? `<span>♪ ${html(video.music_id)}</span>` : ""}</div>${DOES[video.kind] ? "<button></button>" : ""}</div><div class="bar"><i></i></div>`;
  clip = new Clip(card, video);
  const bar = card.querySelector(".bar i");
  clip.onprogress = (share) => { bar.style.transform = `scaleX(${share})`; };
  const does = DOES[video.kind], button = card.querySelector(".words button");
  if (does) { button.textContent = does.label; button.onclick = () => next(does.type); }
  $("deck").append(card);
  if (old) { old.classList.add(how === "rise" ? "up" : "gone"); setTimeout(() => old.remove(), 360); }
  liked = false;
  $("b-like").classList.remove("on");
  $("b-pause").classList.remove("on");
  clip.play();
  ask("/c/events", event("impression")).catch(() => {});
  queue();
}

// Send what happened; the slate that answers is taken when `onwards`.
async function send(type, more, onwards) {
  const started = performance.now();
  const found = await ask("/c/events?wait=true", event(type, more));
  $("trip").textContent = `round trip ${(performance.now() - started).toFixed(0)} ms`;
  if (onwards && found.slate) take(found.slate, found.event_to_slate_ms);
  return found.slate;
}

async function next(type) {
  if (!slate || !clip || moving) return;
  moving = true;
  const ms = clip.watchMs(), share = ms / 1000 / clip.duration;
  const kind = type || (share < SKIPPED ? "skip" : "watch");
  const actions = liked ? ["like"] : [];
  try {
    const came = await send(kind, { watch_ms: ms, duration_ms: Math.round(clip.duration * 1000), actions }, true);
    if (!came) place = Math.min(place + 1, slate.items.length - 1);
    clip.close();
    show("rise");
    notice("");
  } catch (error) {
    notice(error instanceof Refused ? `${error.message}. Swipe again in a moment.` : String(error));
  } finally { moving = false; }
}

function like() {
  if (!clip) return;
  liked = !liked;
  $("b-like").classList.toggle("on", liked);
}

function pause() {
  if (!clip) return;
  if (clip.playing) clip.pause(); else clip.play();
  $("b-pause").classList.toggle("on", !clip.playing);
}

function gestures(phone) {
  let from = null, moved = 0;
  phone.addEventListener("pointerdown", (e) => {
    if (e.target.closest("button")) return;
    from = { y: e.clientY, x: e.clientX }; moved = 0;
    phone.setPointerCapture(e.pointerId);
  });
  phone.addEventListener("pointermove", (e) => {
    if (!from || !card) return;
    moved = e.clientY - from.y;
    card.style.transition = "none";
    card.style.transform = `translateY(${Math.min(0, moved) + Math.max(0, moved) / 6}px)`;
  });
  const end = (e) => {
    if (!from || !card) return;
    const tapped = Math.abs(moved) < 6 && Math.abs(e.clientX - from.x) < 6;
    card.style.transition = ""; card.style.transform = "";
    from = null;
    if (moved < -60) next(); else if (tapped && e.type === "pointerup") pause();
  };
  phone.addEventListener("pointerup", end);
  phone.addEventListener("pointercancel", end);
  phone.addEventListener("dblclick", (e) => { if (!e.target.closest("button")) like(); });
  let turned = 0;
  phone.addEventListener("wheel", (e) => {
    e.preventDefault();
    const now = performance.now();
    if (e.deltaY > 12 && now - turned > 600) { turned = now; next(); }
  }, { passive: false });
}

function keys(e) {
  if (e.target.closest("input, textarea, select") || e.metaKey || e.ctrlKey || e.altKey) return;
  if (e.key === " " && e.target.closest("button, a")) return;
  const does = {
    ArrowUp: () => next(), ArrowDown: () => next(), j: () => next(), PageDown: () => next(), l: like, s: () => next("skip"),
    h: () => next("hide"), " ": pause, n: () => begin(viewer.fresh()), w: () => { location.href = `/why?user=${encodeURIComponent(user)}`; },
  }[e.key.length === 1 ? e.key.toLowerCase() : e.key];
  if (does) { e.preventDefault(); does(); }
}

function start() {
  if (!$("deck")) { setTimeout(start, 30); return; }
  gestures($("phone"));
  document.addEventListener("keydown", keys);
  $("b-like").onclick = like;
  $("b-skip").onclick = () => next("skip");
  $("b-hide").onclick = () => next("hide");
  $("b-pause").onclick = pause;
  $("b-new").onclick = () => begin(viewer.fresh());
  const as = () => { const name = $("viewer").value.trim(); if (name) begin(name); $("phone").focus(); };
  $("b-as").onclick = as;
  $("viewer").addEventListener("keydown", (e) => { if (e.key === "Enter") as(); });
  $("viewer").addEventListener("focus", () => $("viewer").select());
  document.addEventListener("fl-back", () => { notice(""); if (!clip) begin(user); });
  document.addEventListener("visibilitychange", () => { if (document.hidden && clip?.playing) pause(); });
  fillViewers();
  setInterval(fillViewers, 5000);
  begin(viewer.get());
}
start();
