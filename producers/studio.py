"""The studio's rhythm: new videos at a rate, a withdrawal now and then, and never more videos than the pool holds."""

from __future__ import annotations

from producers.catalogue import Catalogue
from producers.goods import Goods
from producers.parameters import CatalogueParameters
from streams.core.events import Video

Change = tuple[str, Video | None]  # a video id with the video, or with None to withdraw it


class Studio:
    """Publishes and withdraws over time.

    Args:
      rate: videos per second.
      most: live videos at most; beyond it the oldest is withdrawn.
      goods: what some videos become; None: nothing.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        parameters: CatalogueParameters,
        rate: float,
        most: int,
        start_ms: int,
        goods: Goods | None = None,
    ) -> None:
        self._catalogue, self._p, self._goods = catalogue, parameters, goods
        self._rate, self._most = rate, most
        self._last_ms = start_ms
        self._owed = 0.0
        self._withdrawals = 0.0
        self.published = 0
        self.withdrawn = 0

    def tick(self, now_ms: int) -> list[Change]:
        """Return what changes up to `now_ms`."""
        self._owed += self._rate * max(now_ms - self._last_ms, 0) / 1000
        self._last_ms = max(now_ms, self._last_ms)
        changes: list[Change] = []
        while self._owed >= 1.0:
            self._owed -= 1.0
            changes.extend(self._publish(now_ms))
        if self._goods is not None:
            changes.extend(self._goods.tick(now_ms))
        return changes

    def _publish(self, now_ms: int) -> list[Change]:
        video = self._catalogue.publish(now_ms)
        if self._goods is not None:
            video = self._goods.made_of(video, now_ms)
        self.published += 1
        ended: list[str] = []
        self._withdrawals += self._p.withdrawn
        if self._withdrawals >= 1.0:
            self._withdrawals -= 1.0
            ended.extend(filter(None, [self._catalogue.withdraw()]))
        if self._catalogue.live_count > self._most:
            ended.append(self._catalogue.end(self._catalogue.oldest()))
        self.withdrawn += len(ended)
        return [(video.video_id, video), *((video_id, None) for video_id in ended)]
