// A clip: the rendered video when there is one, else moving shapes that follow from its tags, author and music.

import { hash, hue } from "./common.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

function randoms(seed) {
  let s = seed || 1;
  return () => { s ^= s << 13; s ^= s >>> 17; s ^= s << 5; return (s >>> 0) / 4294967296; };
}

export class Clip {
  // host: an element that the clip fills; video: its facts
  constructor(host, video) {
    this.video = video;
    this.duration = (video?.duration_ms || 12000) / 1000;
    this.watched = 0;
    this.playing = false;
    const ref = video?.media || "";
    if (/\.mp4($|\?)/.test(ref)) this.film(host, ref); else this.paint(host);
  }

  film(host, ref) {
    this.element = document.createElement("video");
    Object.assign(this.element, { muted: true, loop: true, playsInline: true, autoplay: false });
    this.element.src = /^https?:/.test(ref) ? ref : `/c/clip?ref=${encodeURIComponent(ref)}`;
    this.element.onerror = () => { this.element.remove(); this.element = null; this.paint(host); if (this.playing) this.tick(); };
    host.prepend(this.element);
  }

  paint(host) {
    const canvas = document.createElement("canvas");
    canvas.width = 360; canvas.height = 640;
    host.prepend(canvas);
    this.canvas = canvas;
    this.ink = canvas.getContext("2d");
    const video = this.video || {}, tags = video.tags?.length ? video.tags : [video.author_id || "?"];
    const random = randoms(hash(video.video_id || "?"));
    this.hue = hue(video);
    this.other = (this.hue + 40 + (hash(video.author_id || "") % 80)) % 360;
    this.pace = 0.25 + (hash(video.music_id || "") % 100) / 130;
    this.shapes = Array.from({ length: 16 }, (_, n) => ({
      kind: hash(tags[n % tags.length]) % 4, x: random(), y: random(), size: 0.06 + 0.2 * random() ** 2,
      turn: random() * 6.3, drift: (random() - 0.5) * 0.2, rise: 0.03 + 0.1 * random(),
      light: 40 + 30 * random(), warm: random() < 0.5,
    }));
    this.draw(0);
  }

  draw(t) {
    const { ink, canvas: { width: w, height: h } } = this;
    const sky = ink.createLinearGradient(0, 0, w * 0.5, h);
    sky.addColorStop(0, `hsl(${this.hue} 55% 24%)`);
    sky.addColorStop(1, `hsl(${this.other} 60% 9%)`);
    ink.globalAlpha = 1; ink.fillStyle = sky; ink.fillRect(0, 0, w, h);
    for (const one of this.shapes) {
      const x = ((one.x + one.drift * t * this.pace + 10) % 1.2 - 0.1) * w;
      const y = ((one.y - one.rise * t * this.pace + 100) % 1.3 - 0.15) * h;
      const r = one.size * w * (1 + 0.12 * Math.sin(3 * t * this.pace + one.turn));
      ink.save(); ink.translate(x, y); ink.rotate(one.turn + t * this.pace * one.drift * 4);
      ink.globalAlpha = 0.55;
      ink.fillStyle = `hsl(${one.warm ? this.hue : this.other} 70% ${one.light}%)`;
      ink.beginPath();
      if (one.kind === 0) ink.arc(0, 0, r, 0, 2 * Math.PI);
      else if (one.kind === 1) ink.roundRect(-r, -r * 0.6, 2 * r, 1.2 * r, r * 0.25);
      else if (one.kind === 2) { for (let n = 0; n < 3; n++) ink.lineTo(r * Math.cos(n * 2.094), r * Math.sin(n * 2.094)); ink.closePath(); }
      else { ink.arc(0, 0, r, 0, 2 * Math.PI); ink.moveTo(r * 0.6, 0); ink.arc(0, 0, r * 0.6, 0, 2 * Math.PI, true); }
      ink.fill(); ink.restore();
    }
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.last = performance.now();
    this.element?.play().catch(() => {});
    this.tick();
  }

  pause() { this.count(); this.playing = false; this.element?.pause(); cancelAnimationFrame(this.frame); }

  count() {
    if (!this.playing) return;
    const now = performance.now();
    this.watched += (now - this.last) / 1000;
    this.last = now;
  }

  tick() {
    if (!this.playing) return;
    this.count();
    if (this.ink && !still.matches) this.draw(this.watched);
    this.onprogress?.((this.watched / this.duration) % 1);
    this.frame = requestAnimationFrame(() => this.tick());
  }

  watchMs() { this.count(); return Math.round(Math.min(this.watched, 86400) * 1000); }

  close() { this.pause(); this.element?.removeAttribute("src"); }
}
