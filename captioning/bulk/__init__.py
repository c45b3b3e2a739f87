"""Captions of many pictures: sources of any size, work that goes on after an interruption, several processes."""
