#!/usr/bin/env python3
"""Holds thumbnails against Pillow's, file by file.

    compare.py CORPUS OUT OUTCOMES [--size 256x256]

CORPUS is a folder of pictures (fetch.sh makes one), OUT the folder of outputs, OUTCOMES a file of
JSON lines, one for each file of the corpus:

    {"key": "mate/nature/Dune.jpg", "outcome": "done"}
    {"key": "pillow/broken.png", "outcome": "rejected", "reason": "corrupt PNG: ..."}

An output is at OUT/<key>.<size>.<png|jpg|webp>. It makes no difference whether the function ran
natively (guest-functions/thumbnail/examples/render-folder.rs) or in the host.

The reference is Pillow's: ImageOps.exif_transpose(Image.open(file)), converted to RGB (RGBA where it
has transparency) and resized by LANCZOS to the output's size. The measure is SSIM as Wang et al.
define it (Gaussian window, sigma 1.5, population covariance), the mean over R, G and B. Pictures
with transparency are compared on white and on black, and the worse counts. Pictures of less than 11
pixels on a side, the window's width, are extended by their edge pixels.

The goal: of the files of supported formats that Pillow opens and loads and can show in RGB, at least
97% give an output of the right size and orientation with an SSIM of at least 0.98. Nothing is taken
off that count for a reason given. Every other file is rejected with a true reason, or is explained
below. Exits 1 when the goal is missed, 2 on wrong use.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import resource
import sys
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from PIL import Image, ImageOps
from skimage.metrics import structural_similarity

SUPPORTED = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "WEBP": "WebP", "GIF": "GIF",
             "TIFF": "TIFF", "BMP": "BMP"}
GOAL_SHARE = 0.97
GOAL_SSIM = 0.98
WINDOW = 11
# Hostile files make Pillow ask for tens of gigabytes.
PILLOW_MAX_BYTES = 4 << 30

# Where the two differ for a reason that no rule below can check by itself. A difference that neither
# a rule nor this table explains misses the goal.
EXPLAINED = {
    "pillow/10ct_32bit_128.tiff": "float samples: 0..1 is black to white here; Pillow's convert takes "
    "them for 0..255, so that this file of -3.1..3.1 is black",
    "pillow/16bit.s.tif": "signed samples have no agreed black and white; Pillow clips them",
    "pillow/app13.jpg": "4x4 pixels with halved chroma: libjpeg interpolates chroma only where it is "
    "more than two samples wide, zune-jpeg always",
    "pillow/bmp/b/badrle.bmp": "bmpsuite's \"bad\": runs that aren't run-length codes; two readings "
    "of noise",
    "pillow/crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "broken fax codes: libtiff warns and "
    "shows what it has, this refuses",
    "pillow/hopper_bad_exif.jpg": "broken Huffman codes: libjpeg warns and shows what it has, this "
    "refuses",
    "pillow/hopper_lzma.tif": "LZMA compression isn't supported",
    "pillow/apng/chunk_no_fctl.png": "the animation is broken, the still picture before it isn't",
    "pillow/png_decompression_dos.png": "text that unpacks to too much: Pillow refuses the file, this "
    "leaves the text packed and reads the picture",
}

# Pictures that bmpsuite shows once for several files.
BMPSUITE_SAME = {"pillow/bmp/g/rgb32bf.bmp": "rgb24", "pillow/bmp/q/rgb32-111110.bmp": "rgb24"}


def main():
    parser = argparse.ArgumentParser(description="Holds thumbnails against Pillow's.")
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("outcomes", type=pathlib.Path)
    parser.add_argument("--size", default="256x256", help="the box that outputs were made for")
    args = parser.parse_args()

    with open(args.outcomes, encoding="utf-8") as lines:
        outcomes = {line["key"]: line for line in map(json.loads, lines)}
    keys = sorted(str(path.relative_to(args.corpus)) for path in args.corpus.rglob("*")
                  if path.is_file())
    if not keys:
        print(f"no files in {args.corpus}; run fetch.sh", file=sys.stderr)
        return 2
    jobs = [(args.corpus, args.out, args.size, key, outcomes.get(key)) for key in keys]
    with concurrent.futures.ProcessPoolExecutor(
            os.cpu_count(), initializer=confine, max_tasks_per_child=50) as pool:
        verdicts = list(pool.map(judge, jobs, chunksize=10))
    return report(verdicts)


def confine():
    resource.setrlimit(resource.RLIMIT_AS, (PILLOW_MAX_BYTES, PILLOW_MAX_BYTES))
    warnings.simplefilter("ignore")
    # libtiff writes what it thinks to stderr.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def judge(job):
    """One file's verdict: its key, whether the goal counts it, its class, and what to say."""
    corpus, out, size, key, outcome = job
    pillow = open_in_pillow(corpus / key)
    counted = pillow["format"] in SUPPORTED and pillow["reference"] is not None
    verdict = {"key": key, "counted": counted, "format": pillow["format"], "note": ""}

    def say(kind, note=""):
        return verdict | {"kind": kind, "note": note or EXPLAINED.get(key, "")}

    if outcome is None:
        return say("fault", "no outcome was recorded")
    reason = outcome.get("reason") or ""
    if outcome["outcome"] == "rejected":
        untrue = find_untruth(reason, pillow, corpus / key)
        if untrue:
            return say("fault", f'"{reason}" is untrue: {untrue}')
        if counted:
            return say("refused", f"{reason}. {EXPLAINED.get(key, 'UNEXPLAINED')}")
        return say("rejected", reason)
    if outcome["outcome"] != "done":
        return say("fault", f"{outcome['outcome']}: {reason}")

    output = find_output(out, key, size)
    if output is None:
        return say("fault", "done, and there is no output")
    ours = Image.open(output)
    ours.load()
    verdict["size"] = ours.size
    if not counted:
        if key in EXPLAINED:
            return say("read")
        # bmpsuite says what its files look like, those that Pillow refuses too.
        stem = BMPSUITE_SAME.get(key) or pathlib.Path(key).stem
        shown = corpus / "pillow/bmp/html" / f"{stem}.png"
        if key.startswith("pillow/bmp/") and shown.exists():
            score = similarity(ours, in_rgb(Image.open(shown)))
            if score >= GOAL_SSIM:
                return say("read", f"SSIM {score:.3f} with bmpsuite's own rendering. Pillow: "
                           f"{pillow['error']}")
        return say("fault", f"read, though Pillow says: {pillow['error']}")
    reference = pillow["reference"]
    expected = expected_size(reference.size, size)
    if any(abs(ours_side - side) > 1 for ours_side, side in zip(ours.size, expected)):
        return say("differs", f"is {ours.size}, should be {expected}")
    score = similarity(ours, reference)
    verdict["ssim"] = score
    if score >= GOAL_SSIM:
        return say("agrees")
    if pillow["rescaled"] is not None and similarity(ours, pillow["rescaled"]) >= GOAL_SSIM:
        return say("differs", f"SSIM {score:.3f}: more than 8 bits for each sample, which "
                   "Pillow's convert clips to 255; against Pillow's samples scaled to 8 bits it "
                   f"is {similarity(ours, pillow['rescaled']):.3f}")
    return say("differs", f"SSIM {score:.3f}. " + EXPLAINED.get(key, "UNEXPLAINED"))


def open_in_pillow(path):
    """Pillow's view of a file: format, upright RGB or RGBA reference, error.

    Where it has one channel of more than 8 bits, also what its samples are when scaled to 8.
    """
    found = {"format": None, "size": None, "reference": None, "rescaled": None, "error": None}
    try:
        image = Image.open(path)
        found["format"], found["size"] = image.format, image.size
        depth = deepest(image)
        image.load()
        image = ImageOps.exif_transpose(image)
        found["reference"] = in_rgb(image)
        if image.mode.startswith(("I", "F")):
            samples = np.asarray(image).astype(np.float64)
            scaled = samples * 255 if image.mode == "F" else samples // 2 ** (depth - 8)
            found["rescaled"] = Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")
            hidden = image.info.get("transparency")
            if hidden is not None:
                alpha = np.where(samples == hidden, 0, 255).astype(np.uint8)
                found["rescaled"].putalpha(Image.fromarray(alpha))
    except (MemoryError, Image.DecompressionBombError) as error:
        found["error"] = type(error).__name__
    except Exception as error:  # Its plugins raise whatever they meet.
        found["error"] = f"{type(error).__name__}: {error}"[:120]
    return found


def in_rgb(image):
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def deepest(image):
    bits = getattr(image, "tag_v2", {}).get(258, 16)
    return max(bits) if isinstance(bits, tuple) else bits


def find_untruth(reason, pillow, path):
    """What of a reason Pillow contradicts, if anything."""
    head = path.read_bytes()[:16]
    ours, found = SUPPORTED.get(pillow["format"]), pillow["format"]
    if not reason:
        return "there is none"
    if reason == "the file is empty":
        return None if not head else "it has bytes"
    if reason.startswith("not a picture: starts with "):
        if not reason.startswith(f"not a picture: starts with {head[:8].hex()};"):
            return "it starts otherwise"
        return f"Pillow opens it as {found}" if ours else None
    for format in set(SUPPORTED.values()):
        for kind in ("truncated", "corrupt", "unsupported"):
            if not reason.startswith(f"{kind} {format}: "):
                continue
            if ours not in (None, format):
                return f"Pillow opens it as {found}"
            if kind == "truncated" and pillow["reference"] is not None:
                return "Pillow loads it fully"
    if "over the limit of" in reason and found:
        width, height = map(int, reason.split(" pixels")[0].split()[-1].split("x"))
        stored = {(width, height), (height, width)}
        return None if pillow["size"] in stored else f"Pillow says {pillow['size']}"
    if "pictures aren't supported" in reason and ours:
        return f"Pillow opens it as {found}"
    return None


def find_output(out, key, size):
    for extension in ("png", "jpg", "webp"):
        path = out / f"{key}.{size}.{extension}"
        if path.exists():
            return path
    return None


def expected_size(size, box):
    """`fit` without enlarging."""
    scale = min(1, *(int(most) / side for side, most in zip(size, box.split("x"))))
    return tuple(max(1, int(side * scale + 0.5)) for side in size)


def similarity(ours, reference):
    if reference.size != ours.size:
        reference = reference.resize(ours.size, Image.Resampling.LANCZOS)
    if "A" not in ours.mode and "A" not in reference.mode and not ours.has_transparency_data:
        return ssim(ours.convert("RGB"), reference)
    # JPEG can't keep transparency, and blends onto white.
    grounds = ["white"] if ours.format == "JPEG" else ["white", "black"]
    return min(ssim(on(ground, ours), on(ground, reference)) for ground in grounds)


def on(ground, image):
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def ssim(one, other):
    one, other = np.asarray(one), np.asarray(other)
    missing = [(0, max(0, WINDOW - side)) for side in one.shape[:2]] + [(0, 0)]
    one, other = (np.pad(pixels, missing, mode="edge") for pixels in (one, other))
    return structural_similarity(one, other, channel_axis=-1, data_range=255,
                                 gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def report(verdicts):
    by_kind = collections.defaultdict(list)
    for verdict in verdicts:
        by_kind[verdict["kind"]].append(verdict)

    for kind, title in [
            ("differs", "Differ from Pillow"),
            ("refused", "Refused, though Pillow reads them"),
            ("read", "Read, though Pillow refuses them"),
            ("fault", "FAULTS")]:
        if by_kind[kind]:
            print(f"\n{title}: {len(by_kind[kind])}")
            for verdict in by_kind[kind]:
                print(f"  {verdict['key']} ({verdict['format']}): {verdict['note']}")

    print("\nBy format, of files that Pillow opens, loads and can show in RGB:")
    counted = [verdict for verdict in verdicts if verdict["counted"]]
    for format in sorted({verdict["format"] for verdict in counted}):
        of_format = [verdict for verdict in counted if verdict["format"] == format]
        agreeing = sum(verdict["kind"] == "agrees" for verdict in of_format)
        print(f"  {format:5} {agreeing:4} of {len(of_format)}")

    agreeing = len(by_kind["agrees"])
    share = agreeing / len(counted) if counted else 0
    scores = sorted(verdict["ssim"] for verdict in by_kind["agrees"])
    print(f"\n{len(verdicts)} files, {len(counted)} counted: {agreeing} agree ({share:.2%}, goal "
          f"{GOAL_SHARE:.0%}), {len(by_kind['differs'])} differ, {len(by_kind['refused'])} refused. "
          f"Not counted: {len(by_kind['rejected'])} rejected, {len(by_kind['read'])} read. "
          f"Faults: {len(by_kind['fault'])}.")
    if scores:
        print(f"SSIM of those that agree: median {scores[len(scores) // 2]:.4f}, "
              f"5th percentile {scores[len(scores) // 20]:.4f}.")
        print("The least alike: " + ", ".join(
            f"{verdict['key']} {verdict['ssim']:.4f}"
            for verdict in sorted(by_kind["agrees"], key=lambda v: v["ssim"])[:5]) + ".")
    unexplained = [verdict for verdict in verdicts if "UNEXPLAINED" in verdict["note"]]
    met = share >= GOAL_SHARE and not by_kind["fault"] and not unexplained
    print("The goal is met." if met else "THE GOAL IS MISSED.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
