"""How the net learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.first import FirstStates
from model.tables import Table, Tables
from model.title import BUCKETS


@dataclass(frozen=True)
class NetOptions:
    """How the net learns.

    Attributes:
      rate: Adam's step size of dense weights; the next four multiply it for rows of authors, tags and music, for the
        learned residuals of videos, for their biases, and for rows of profiles.
      tag_scale: standard deviation of a new tag's row.
      own_scale: of what a new author or music has besides the mean of its first tags.
      decay: weight decay of table rows, per unit of step size.
      clip: largest global norm of the dense gradients.
      user_clip: largest norm of the summed gradient that one user brings to a step, over all weights and rows; 0: any.
      noise: deviation of the noise on the summed gradient, in units of `user_clip`; with it, tables hold still.
      dropout: chance that a batch sees a video without what was learned of it by id, so that content stands alone.
      media_dropout: chance that a batch sees a video without one of its content vectors, each by itself.
      media_rate: multiplies the step size of the weights of content vectors.
      most_rows: rows of a table kept.
      text_rate: as `table_rate`, for rows of n-grams; read: there are such rows (`model.title`).
      standardise: numbers go in by statistics of what was published (`model.standard`).
    """

    rate: float = 0.0005
    table_rate: float = 6.0
    residual_rate: float = 1.0
    bias_rate: float = 40.0
    profile_rate: float = 6.0
    tag_scale: float = 0.25
    own_scale: float = 0.1
    decay: float = 0.01
    clip: float = 1.0
    user_clip: float = 0.0
    noise: float = 0.0
    dropout: float = 0.1
    media_dropout: float = 0.1
    media_rate: float = 4.0
    most_rows: int = 32_768
    text_rate: float = 60.0
    read: bool = False
    standardise: bool = True

    def tables(self, category: int, embedding: int) -> Tables:
        """Return empty tables for rows of these widths."""
        shared = np.full(category, self.rate * self.table_rate, np.float32)
        learned = np.full(embedding + 1, self.rate * self.residual_rate, np.float32)
        learned[-1] = self.rate * self.bias_rate
        author, tag, music = (
            Table(category, scale, shared, self.decay, self.most_rows)
            for scale in (self.own_scale, self.tag_scale, self.own_scale)
        )
        made = Tables(author, tag, music, Table(embedding + 1, 0.0, learned, self.decay, self.most_rows))
        if self.read:
            rates = np.full(embedding, self.rate * self.text_rate, np.float32)
            made.text = Table(embedding, 0.0, rates, self.decay, BUCKETS)
        return made

    def profiles(self, hidden: int) -> FirstStates:
        """Return an empty table of profile rows; what they begin with is nothing, as without a profile."""
        rates = np.full(hidden, self.rate * self.profile_rate, np.float32)
        return FirstStates(Table(hidden, 0.0, rates, self.decay, self.most_rows))
