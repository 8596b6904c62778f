// What every page shares: asking the console, saying whether it answers, and the viewer one looks at.

export const $ = (id) => document.getElementById(id);

export class Refused extends Error {}

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-freshloop": "1" },
  };
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(9000) });
  } catch {
    throw new Refused("the console does not answer");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(found.error || `error ${answer.status}`);
  return found;
}

export const html = (text) => String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// FNV-1a: the same colour for the same tag on every page
export function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 15; h = Math.imul(h, 0x2c1b3c6d); h ^= h >>> 13;
  return h >>> 0;
}

export const hue = (video) => hash(video?.tags?.[0] || video?.author_id || "") % 360;
export const swatch = (video) => {
  const a = hue(video), b = (a + 40 + (hash(video?.author_id || "") % 80)) % 360;
  return `linear-gradient(150deg, hsl(${a} 62% 42%), hsl(${b} 58% 20%))`;
};

// What a product costs, or how many are in a live room; nothing for a video.
export const kindWords = (video) => {
  if (video?.kind === "product") {
    const left = video.stock == null ? "" : `, ${video.stock.toLocaleString("en")} left`;
    return video.price == null ? `product${left}` : `${video.price.toFixed(2)} ${video.currency}${left}`;
  }
  return video?.kind === "live" ? `live, ${(video.viewers || 0).toLocaleString("en")} there` : "";
};

export const viewer = {
  get() { return new URLSearchParams(location.search).get("user") || sessionStorage.getItem("viewer") || this.fresh(); },
  set(name) {
    sessionStorage.setItem("viewer", name);
    history.replaceState(null, "", `${location.pathname}?user=${encodeURIComponent(name)}`);
  },
  fresh() { return `you-${Math.random().toString(36).slice(2, 8)}`; },
};

export async function fillViewers() {
  try {
    const { users } = await ask("/c/users");
    $("viewers").innerHTML = users.map((one) => `<option value="${html(one)}"></option>`).join("");
  } catch { /* the banner says it */ }
}

export const ago = (ms) => {
  const s = Math.max(0, ms / 1000);
  return s < 90 ? `${s.toFixed(0)} s` : s < 5400 ? `${(s / 60).toFixed(0)} min` : `${(s / 3600).toFixed(0)} h`;
};

let down = 0;
async function watch() {
  const status = $("fl-status"), banner = $("fl-banner");
  if (status && banner) {
    try {
      const found = await ask("/c/health");
      if (down) document.dispatchEvent(new CustomEvent("fl-back"));
      down = 0;
      status.className = "fl-status ok";
      status.lastElementChild.textContent = `model v${found.model_version} · ${found.videos.toLocaleString("en")} videos`;
      banner.hidden = true;
    } catch {
      down += 1;
      status.className = "fl-status down";
      status.lastElementChild.textContent = "no worker answers";
      if (down > 1) {
        banner.textContent = "No worker answers. Trying again; nothing that was acknowledged is lost.";
        banner.hidden = false;
      }
    }
  }
  setTimeout(watch, 1000);
}
watch();
