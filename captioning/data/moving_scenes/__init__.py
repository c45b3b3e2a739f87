"""The embedded sample of clips: objects that move, drawn by code from a seed."""

from captioning.data.moving_scenes.reader import read_moving_scenes

__all__ = ["read_moving_scenes"]
