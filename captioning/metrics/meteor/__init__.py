"""METEOR 1.5 for English without Java, see ``Meteor``."""

from captioning.metrics.meteor.metric import Meteor

__all__ = ["Meteor"]
