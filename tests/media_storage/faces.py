"""Faces of nobody: heads made of an ellipsoid with sockets, nose and mouth, lit from a side.

OpenCV's cascades take them for faces. What that says about photos of people is nothing but this: that
the detector runs, and finds what looks like a face.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from PIL import Image

SKINS = ((224, 172, 138), (190, 140, 110), (240, 200, 175), (150, 105, 80))
HAIR = (30, 25, 22)
Array = Any


def head(
    size: int,
    *,
    yaw: float = 0.0,
    roll: float = 0.0,
    skin: tuple[int, int, int] = SKINS[0],
    light: float = 0.2,
    glasses: bool = False,
) -> Image.Image:
    """A square of `size` pixels with a transparent ground. Degrees; the face takes 0.58 of it."""
    side = size * 2
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    u, v = _turned((x - side / 2) / (side / 2), (y - side / 2) / (side / 2), np.deg2rad(roll))
    half_width, half_height = 0.58, 0.80
    radius = (u / half_width) ** 2 + (v / half_height) ** 2
    inside = radius < 1
    across = np.sqrt(np.clip(1 - (v / half_height) ** 2, 1e-3, 1))
    around = np.arcsin(np.clip(u / half_width / across, -1, 1)) - np.deg2rad(yaw)

    def bump(cx: float, cy: float, sx: float, sy: float) -> Array:
        return np.exp(-(((around - cx) / sx) ** 2 + ((v - cy) / sy) ** 2))

    relief = 0.10 * bump(0, 0.02, 0.10, 0.22) + 0.12 * bump(0, 0.16, 0.16, 0.09)
    relief -= 0.16 * (bump(-0.42, -0.14, 0.24, 0.10) + bump(0.42, -0.14, 0.24, 0.10))
    relief += 0.08 * (bump(-0.42, -0.26, 0.28, 0.05) + bump(0.42, -0.26, 0.28, 0.05))
    relief += 0.05 * bump(0, 0.40, 0.30, 0.04) + 0.06 * bump(0, 0.47, 0.26, 0.04)
    relief += 0.06 * (bump(-0.55, 0.12, 0.25, 0.2) + bump(0.55, 0.12, 0.25, 0.2))
    height = np.sqrt(np.clip(1 - radius, 0, 1)) * half_width + relief * half_width * 1.2
    image = _lit(height, side, light) * np.array(skin, np.float32)

    def paint(mask: Array, colour: tuple[int, int, int], strength: float = 1.0) -> None:
        share = np.clip(mask * strength, 0, 1).astype(np.float32)[..., None]
        image[:] = image * (1 - share) + np.array(colour, np.float32) * share

    paint(bump(0, 0.43, 0.24, 0.055), (150, 80, 76), 0.9)
    paint((np.abs(v - 0.435) < 0.010) & (np.abs(around) < 0.25), (60, 28, 28), 0.8)
    for way in (-1, 1):
        eye = ((around - way * 0.40) / 0.17) ** 2 + ((v + 0.13) / 0.045) ** 2 < 1
        iris = ((around - way * 0.40) / 0.075) ** 2 + ((v + 0.13) / 0.05) ** 2 < 1
        paint(eye, (225, 222, 218))
        paint(iris & eye, (35, 22, 18))
        paint(bump(way * 0.40, -0.175, 0.20, 0.022), (40, 25, 20), 0.8)
        paint(bump(way * 0.40, -0.27, 0.22, 0.035), HAIR, 1.2)
        paint(bump(way * 0.08, 0.215, 0.04, 0.022), (60, 30, 28), 0.8)
        if glasses:
            ring = np.sqrt(((around - way * 0.40) / 0.26) ** 2 + ((v + 0.13) / 0.13) ** 2)
            paint(np.abs(ring - 1) < 0.10, (20, 20, 20), 0.9)
    paint(bump(0, 0.235, 0.18, 0.02), (90, 55, 45), 0.5)
    paint(((v < -0.52 + 0.10 * np.cos(around * 2)) | ((np.abs(around) > 1.15) & (v < 0.05))), HAIR)
    crown = ((u / 0.64) ** 2 + ((v + 0.06) / 0.85) ** 2 < 1) & ~inside & (v < 0.1)
    neck = (np.abs(u) < 0.28) & (v > 0.6) & ~inside
    image[crown] = HAIR
    image[neck] = np.array(skin) * 0.62
    alpha = (inside | crown | neck).astype(np.float32) * 255
    whole = np.dstack([np.clip(image, 0, 255), alpha]).astype(np.uint8)
    return Image.fromarray(whole, "RGBA").resize((size, size), Image.Resampling.LANCZOS)


def _turned(u: Array, v: Array, angle: float) -> tuple[Array, Array]:
    return u * np.cos(angle) + v * np.sin(angle), -u * np.sin(angle) + v * np.cos(angle)


def _lit(height: Array, side: int, light: float) -> Array:
    """How bright each pixel is, by the light's angle to the surface."""
    down, right = np.gradient(height, 2 / side)
    normal = np.dstack([-right, -down, np.ones_like(down)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    sun = np.array([light, -0.55, 0.8])
    return (np.clip(normal @ (sun / np.linalg.norm(sun)), 0, 1) * 0.75 + 0.30)[..., None]


def ground(width: int, height: int, *, seed: int) -> Image.Image:
    """Blotches of colour with a little noise, soft for odd seeds and hard for even ones."""
    chance = np.random.default_rng(seed)
    blotches = Image.fromarray(chance.integers(60, 200, (12, 16, 3)).astype(np.uint8))
    soft = Image.Resampling.BICUBIC if seed % 2 else Image.Resampling.NEAREST
    image = np.asarray(blotches.resize((width, height), soft), np.float32)
    noisy = image + chance.normal(0, 6, image.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def crowd(seed: int, *, face: int) -> tuple[Image.Image, list[tuple[float, float]]]:
    """A picture of 1600 × 1200 full of faces `face` pixels wide, and the middle of each.

    Turned by up to 65 degrees and leaning by up to 30, light from anywhere, some with glasses.
    """
    chance = random.Random(seed)
    image, middles = ground(1600, 1200, seed=seed), []
    size = int(face / 0.58)
    columns, rows = min(6, 1600 // (size + size // 4 + 10)), min(4, 1200 // (size + size // 4 + 10))
    for column in range(columns):
        for row in range(rows):
            drawn = head(
                size,
                yaw=chance.choice([0, 0, 10, -10, 25, -25, 45, -45, 65, -65]),
                roll=chance.choice([0, 0, 0, 8, -8, 18, -18, 30, -30]),
                skin=chance.choice(SKINS),
                light=chance.uniform(-0.9, 0.9),
                glasses=chance.random() < 0.3,
            )
            x, y = 20 + column * (1560 // columns), 10 + row * (1180 // rows)
            image.paste(drawn, (x, y), drawn)
            middles.append((x + size / 2, y + size / 2))
    return image, middles
