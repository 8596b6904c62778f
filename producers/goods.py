"""Products and live rooms of the simulated studio: some of its videos become one or the other.

Products sell out by what viewers buy and come back later. Rooms are heard of every few seconds, with how many are
there, until they end. Nothing here touches the studio's own random numbers: the world is the same without them.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from producers.catalogue import Catalogue
from producers.parameters import GoodsParameters
from streams.core.events import Kind, Video

Change = tuple[str, Video | None]  # as in the studio


@dataclass
class _Product:
    video: Video
    back_ms: int = 0  # when a sold-out one has stock again
    told: bool = True


@dataclass
class _Room:
    video: Video
    audience: float
    ends_ms: int
    next_ms: int
    entered: int = 0


class Goods:
    """What of a catalogue are products and rooms.

    Args:
      products, rooms: shares of the videos that become one.

    Attributes:
      sold, sold_out, restocked, visits, ended: counts.
    """

    def __init__(
        self, catalogue: Catalogue, parameters: GoodsParameters, products: float, rooms: float, seed: int
    ) -> None:
        self._catalogue, self._p = catalogue, parameters
        self._shares = products, rooms
        self._rng = np.random.default_rng([seed, 3])
        self._products: dict[int, _Product] = {}
        self._rooms: dict[int, _Room] = {}
        self.sold = self.sold_out = self.restocked = self.visits = self.ended = 0

    def kind(self, number: int) -> Kind:
        """Return what an item of the catalogue is."""
        if number in self._products:
            return Kind.PRODUCT
        return Kind.LIVE if number in self._rooms else Kind.VIDEO

    def made_of(self, video: Video, now_ms: int) -> Video:
        """Return what a video is published as: itself, or a product or room with its author and topics."""
        products, rooms = self._shares
        if not products and not rooms:
            return video
        draw, number = self._rng.random(), self._catalogue.number(video.video_id)
        if draw < products:
            self._products[number] = product = _Product(self._product(video))
            return product.video
        if draw < products + rooms:
            self._rooms[number] = room = self._room(video, now_ms)
            return room.video
        return video

    def bought(self, number: int) -> None:
        """Take one from a product's stock, while there is any."""
        product = self._products.get(number)
        if product is None or not product.video.stock:
            return
        self.sold += 1
        product.video = msgspec.structs.replace(product.video, stock=product.video.stock - 1)
        product.told = False

    def entered(self, number: int) -> None:
        """Note that a viewer came into a room."""
        if (room := self._rooms.get(number)) is not None:
            self.visits += 1
            room.entered += 1

    def tick(self, now_ms: int) -> list[Change]:
        """Return what is to be published again by `now_ms`."""
        return [*self._stock(now_ms), *self._air(now_ms)]

    def _product(self, video: Video) -> Video:
        low, high = self._p.price
        price = round(float(np.exp(self._rng.uniform(np.log(low), np.log(high)))), 2)
        return msgspec.structs.replace(
            video, kind=Kind.PRODUCT, price=price, currency=self._p.currency, stock=self._new_stock()
        )

    def _new_stock(self) -> int:
        low, high = self._p.stock
        return int(self._rng.integers(low, high + 1))

    def _room(self, video: Video, now_ms: int) -> _Room:
        lasts_ms = 1000 * self._rng.exponential(self._p.room_s)
        audience = float(np.exp(self._rng.normal(np.log(self._p.audience), 1.0)))
        made = msgspec.structs.replace(video, kind=Kind.LIVE, duration_ms=0, starts_ms=now_ms, viewers=round(audience))
        return _Room(made, audience, round(now_ms + lasts_ms), now_ms + self._beat_ms())

    def _beat_ms(self) -> int:
        return round(1000 * self._p.heartbeat_s * self._rng.uniform(0.5, 1.0))

    def _stock(self, now_ms: int) -> list[Change]:
        changes: list[Change] = []
        for number, product in self._products.items():
            if product.back_ms and now_ms >= product.back_ms:
                product.back_ms, product.told = 0, False
                product.video = msgspec.structs.replace(product.video, stock=self._new_stock())
                self._catalogue.revive(number)
                self.restocked += 1
            if product.told:
                continue
            product.told = True
            if not self._catalogue.live[number]:
                continue  # withdrawn meanwhile
            if not product.video.stock:
                self._catalogue.end(number)
                self.sold_out += 1
                product.back_ms = now_ms + round(1000 * self._rng.exponential(self._p.restock_s))
            changes.append((product.video.video_id, product.video))
        return changes

    def _air(self, now_ms: int) -> list[Change]:
        changes: list[Change] = []
        for number, room in list(self._rooms.items()):
            if now_ms < min(room.next_ms, room.ends_ms):
                continue
            on_air = bool(self._catalogue.live[number])
            if now_ms < room.ends_ms and on_air:
                room.audience = room.audience * float(np.exp(0.1 * self._rng.normal())) + room.entered
                room.entered, room.next_ms = 0, now_ms + self._beat_ms()
                room.video = msgspec.structs.replace(room.video, viewers=round(room.audience))
                changes.append((room.video.video_id, room.video))
                continue
            room.next_ms = room.ends_ms = 1 << 62  # it stays known as a room
            if on_air:
                self._catalogue.end(number)
                self.ended += 1
                changes.append((room.video.video_id, msgspec.structs.replace(room.video, ended=True, viewers=0)))
        return changes
