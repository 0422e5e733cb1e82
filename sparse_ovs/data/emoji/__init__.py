"""Scenes of emoji: pictures of the same things by nine vendors."""
