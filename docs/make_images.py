"""Makes docs/images/demo.png from a demonstration's run files: python docs/make_images.py [DIRECTORY].

DIRECTORY is what ``labctl demo --output`` was given; without it the demonstration runs first. For both
samples the composite shows spectra, the L-L curve with the threshold and its interval, and one lasing line.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from labctl.runner.figures.sweep import draw_run

TARGET = Path(__file__).parent / "images" / "demo.png"
PANELS = {
    "spectra": (0.491, 0.045, 1.0, 1.0),
    "threshold": (0.0, 0.06, 0.341, 1.0),
    "peak": (0.0, 0.0, 1.0, 1.0),
}
"""Figures of a run, and which part of each is shown: left, top, right, bottom, as shares of the figure."""
ROW_PIXELS = 520
"""Height of one sample's row."""
GAP_PIXELS = 24
COLOURS = 128
"""Flat drawings lose nothing that is seen in so many, and weigh a third."""
MOST_BYTES = 400_000


def main() -> int:
    """Make the picture and say how large it is."""
    if len(sys.argv) > 1:
        make(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "labctl", "demo", "--output", folder], check=True)
            make(Path(folder))
    size = TARGET.stat().st_size
    print(f"{TARGET}: {size / 1000:.0f} kB")
    return 0 if size <= MOST_BYTES else 1


def make(directory: Path) -> None:
    """Compose the latest run of each sample."""
    rows = [row(max(directory.glob(f"{sample}-*.h5"))) for sample in ("OAm", "OLA")]
    whole = Image.new("RGB", (max(r.width for r in rows), 2 * ROW_PIXELS + GAP_PIXELS), "white")
    top = 0
    for each in rows:
        whole.paste(each, (0, top))
        top += each.height + GAP_PIXELS
    TARGET.parent.mkdir(exist_ok=True)
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(TARGET, optimize=True)


def row(run_file: Path) -> Image.Image:
    """Draw one sample: stacked spectra, the linear L-L curve and the peak, out of the run's figures."""
    figures = {path.stem.rpartition("_")[2]: path for path in draw_run(run_file)}
    parts = [panel(figures[name], edges) for name, edges in PANELS.items()]
    image = Image.new("RGB", (sum(p.width for p in parts), ROW_PIXELS), "white")
    left = 0
    for part in parts:
        image.paste(part, (left, 0))
        left += part.width
    return image


def panel(figure: Path, edges: tuple[float, float, float, float]) -> Image.Image:
    """Cut a panel out of a figure and bring it to the row's height."""
    with Image.open(figure) as whole:
        left, right = (round(edge * whole.width) for edge in edges[::2])
        top, bottom = (round(edge * whole.height) for edge in edges[1::2])
        cut = whole.convert("RGB").crop((left, top, right, bottom))
    return cut.resize((round(cut.width * ROW_PIXELS / cut.height), ROW_PIXELS), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
