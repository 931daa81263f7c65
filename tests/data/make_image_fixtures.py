#!/usr/bin/env python3
"""Small pictures in many formats, their pixels and scaled copies as Pillow makes them.

    make_image_fixtures.py [--out DIR] [--seed N] [--sizes N] [--largest N]

Needs numpy and Pillow (11 to 13 give the same files' pixels). Arrays of golden.npz are named
decode/FILE (after EXIF rotation, as RGB), plain/FILE (without rotation; where it differs) and
resize/FILE/FILTER/WIDTHxHEIGHT. images_test.cc reads the folder; another one when the environment
variable HUGOT_IMAGE_CASES names it.
"""
import argparse
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FILTERS = [0, 1, 2, 3, 4, 5]


def picture(rng, width, height, channels=3):
    """Smooth shapes, an edge and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(channels):
        a, b, c, d = rng.uniform(-3, 3, 4)
        plane = 127 + 90 * np.sin(a * x / width * 4 + b) * np.cos(c * y / height * 4 + d)
        plane[(x * rng.uniform(0.5, 2) + y) > (width + height) / 2] += 40
        planes.append(plane + rng.normal(0, 12, plane.shape))
    out = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return out[..., 0] if channels == 1 else out


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, before=b"", after=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", data) + after
            + chunk(b"IEND", b""))


def bmp(width, height, bits, compression, data, palette=b"", masks=b"", colours=0):
    offset = 14 + 40 + len(masks) + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + masks + palette + data


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def files(rng):
    rgb = Image.fromarray(picture(rng, 23, 17))
    gray = Image.fromarray(picture(rng, 23, 17, 1))
    rgba = Image.fromarray(picture(rng, 19, 21, 4))
    la = rgba.convert("LA")
    palette = rgb.quantize(37)
    bits = gray.convert("1")
    cmyk = Image.fromarray(picture(rng, 33, 18, 4), "CMYK")
    wide = rng.integers(0, 65536, (9, 14), dtype=np.uint16)

    yield "rgb.png", encoded(rgb, "png")
    yield "gray.png", encoded(gray, "png")
    yield "alpha.png", encoded(rgba, "png")
    yield "gray_alpha.png", encoded(la, "png")
    yield "palette.png", encoded(palette, "png")
    yield "palette_transparent.png", encoded(palette, "png", transparency=3)
    yield "palette_4bit.png", encoded(rgb.quantize(13), "png", bits=4)
    yield "bits.png", encoded(bits, "png")
    yield "gray_transparent.png", encoded(gray, "png", transparency=100)
    yield "gray16.png", encoded(Image.fromarray(wide // 100), "png")
    for depth in (2, 4):
        rows = [bytes(rng.integers(0, 256, (13 * depth + 7) // 8, dtype=np.uint8)) for _ in range(8)]
        yield f"gray_{depth}bit.png", png(13, 8, depth, 0, rows)
    deep = rng.integers(0, 65536, (6, 7, 3), dtype=np.uint16)
    yield "rgb16.png", png(7, 6, 16, 2, [row.astype(">u2").tobytes() for row in deep])
    deep = rng.integers(0, 65536, (6, 7, 4), dtype=np.uint16)
    yield "rgba16.png", png(7, 6, 16, 6, [row.astype(">u2").tobytes() for row in deep])
    deep = rng.integers(0, 65536, (6, 7, 2), dtype=np.uint16)
    yield "gray_alpha16.png", png(7, 6, 16, 4, [row.astype(">u2").tobytes() for row in deep])
    short = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    yield "palette_short.png", png(4, 1, 8, 3, [bytes([0, 1, 2, 200])], short)
    turned = chunk(b"eXIf", exif(6)[6:])
    rows = [bytes(row) for row in np.asarray(rgb).reshape(17, -1)]
    yield "exif_before.png", png(23, 17, 8, 2, rows, turned)
    yield "exif_after.png", png(23, 17, 8, 2, rows, b"", turned)
    for name, text in (("attribute", b'<rdf tiff:Orientation="8"/>'),
                       ("element", b"<tiff:Orientation>5</tiff:Orientation>")):
        xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text)
        yield f"xmp_{name}.png", png(23, 17, 8, 2, rows, xmp)

    yield "rgb.jpg", encoded(rgb, "jpeg", quality=90)
    yield "rgb_444.jpg", encoded(rgb, "jpeg", quality=95, subsampling=0)
    yield "rgb_422.jpg", encoded(rgb, "jpeg", quality=80, subsampling=1)
    yield "progressive.jpg", encoded(rgb, "jpeg", progressive=True, quality=70)
    yield "gray.jpg", encoded(gray, "jpeg", quality=85)
    yield "cmyk.jpg", encoded(cmyk, "jpeg", quality=95)
    for orientation in range(1, 9):
        yield f"orientation_{orientation}.jpg", encoded(rgb, "jpeg", quality=90, exif=exif(orientation))
    yield "restart.jpg", encoded(rgb, "jpeg", quality=90, restart_marker_blocks=1)

    yield "lossy.webp", encoded(rgb, "webp", quality=80)
    yield "lossless.webp", encoded(rgb, "webp", lossless=True)
    yield "lossy_alpha.webp", encoded(rgba, "webp", quality=80)
    yield "lossless_alpha.webp", encoded(rgba, "webp", lossless=True, exact=True)
    yield "exif.webp", encoded(rgb, "webp", lossless=True, exif=exif(7))
    yield "animation.webp", encoded(rgb, "webp", save_all=True, lossless=True, duration=100,
                                    append_images=[rgb.rotate(180)])

    yield "palette.gif", encoded(palette, "gif")
    yield "gray.gif", encoded(gray, "gif")
    yield "interlaced.gif", encoded(palette, "gif", interlace=1)
    yield "transparent.gif", encoded(palette, "gif", transparency=5)
    yield "animation.gif", encoded(palette, "gif", save_all=True, append_images=[palette.rotate(90)])
    small = encoded(palette, "gif")
    yield "offset.gif", small[:6] + struct.pack("<HH", 40, 30) + small[10:]

    yield "rgb.bmp", encoded(rgb, "bmp")
    yield "gray.bmp", encoded(gray, "bmp")
    yield "palette.bmp", encoded(palette, "bmp")
    yield "bits.bmp", encoded(bits, "bmp")
    yield "alpha.bmp", encoded(rgba, "bmp")
    table = bytes(rng.integers(0, 256, 64, dtype=np.uint8))
    yield "4bit.bmp", bmp(11, 5, 4, 0, bytes(rng.integers(0, 256, 8 * 5, dtype=np.uint8)), table)
    words = bytes(rng.integers(0, 256, 2 * 6 * 5, dtype=np.uint8))
    yield "555.bmp", bmp(6, 5, 16, 0, words)
    yield "565.bmp", bmp(6, 5, 16, 3, words, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    yield "top_down.bmp", bmp(6, -5, 16, 0, words)
    yield "masks.bmp", bmp(3, 5, 32, 3, words, masks=struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00))
    table = bytes(rng.integers(0, 256, 1024, dtype=np.uint8))
    runs = bytes([5, 7, 0, 3, 1, 2, 3, 0, 0, 0, 3, 9, 0, 0, 2, 4, 0, 2, 3, 1, 4, 200, 0, 0, 11, 1, 0, 1])
    yield "rle8.bmp", bmp(11, 5, 8, 1, runs, table)
    runs = bytes([5, 0x71, 0, 5, 0x12, 0x34, 0x50, 0, 0, 0, 9, 0xAB, 0, 0, 11, 1, 0, 1])
    yield "rle4.bmp", bmp(11, 3, 4, 2, runs, table[:64])

    yield "rgb.ppm", encoded(rgb, "ppm")
    yield "gray.pgm", encoded(gray, "ppm")
    yield "bits.pbm", encoded(bits, "ppm")
    yield "gray16.pgm", b"P5 14 9 65535\n" + (wide // 100).astype(">u2").tobytes()
    yield "scaled.ppm", b"P6 7 2\n# a comment\n1000\n" + (wide.ravel()[:42] % 1001).astype(">u2").tobytes()
    yield "scaled.pgm", b"P5 7 2 100 " + bytes((wide.ravel()[:14] % 101).astype(np.uint8))
    yield "plain.ppm", b"P3 2 2 15 " + b" ".join(b"%d" % v for v in wide.ravel()[:12] % 16)
    yield "plain.pgm", b"P2 3 2 255 0 1 2 # end\n253 254 255\n"
    yield "plain.pbm", b"P1 5 2\n10110 0 1 0\n01"

    yield "rgb.tif", encoded(rgb, "tiff")
    yield "packed.tif", encoded(rgb, "tiff", compression="tiff_lzw")
    yield "gray.tif", encoded(gray, "tiff", compression="tiff_adobe_deflate")
    yield "palette.tif", encoded(palette, "tiff")
    yield "turned.tif", encoded(rgb, "tiff", exif=exif(6))
    yield "rgb.jp2", encoded(rgb, "jpeg2000")
    yield "gray.jp2", encoded(gray, "jpeg2000")
    yield "lossy.jp2", encoded(rgb, "jpeg2000", quality_mode="rates", quality_layers=[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, default=8, help="scaled copies per filter")
    parser.add_argument("--largest", type=int, default=60, help="of their sides")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    golden = {}
    for name, data in files(rng):
        (args.out / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        plain = np.asarray(image.convert("RGB"))
        image = Image.open(io.BytesIO(data))
        turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        golden[f"decode/{name}"] = turned
        if plain.shape != turned.shape or (plain != turned).any():
            golden[f"plain/{name}"] = plain
    for k in range(args.sizes):
        source = Image.fromarray(picture(rng, *rng.integers(1, args.largest, 2)))
        name = f"source_{k}.png"
        source.save(args.out / name)
        for method in FILTERS:
            width, height = (int(v) for v in rng.integers(1, args.largest, 2))
            if k % 4 == 1:
                width = source.width
            if k % 4 == 2:
                height = source.height
            scaled = np.asarray(source.resize((width, height), method))
            golden[f"resize/{name}/{method}/{width}x{height}"] = scaled
    np.savez_compressed(args.out / "golden.npz", **golden)


main()
