"""Figures -> SVG pictures: plain text, no dependency, the same bytes for the same figures."""

import math

WIDTH, HEIGHT, EDGE = 640, 360, 56
COLOURS = {"A": "#b33", "B": "#c73", "C": "#276", "C0": "#7a9", "D": "#85a", "E": "#26a", "F": "#555", "G": "#a80", "H": "#0a9"}
STYLE = '<style>text{font:12px sans-serif;fill:#222}.axis{stroke:#888;fill:none}.light{stroke:#ddd}</style>'


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'<rect width="100%" height="100%" fill="#fff"/>{STYLE}\n' + "\n".join(parts) + "\n</svg>\n")


def text(x, y, what, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{what}</text>'


class Axes:
    """A plane with rounded ticks."""

    def __init__(self, xs, ys):
        self.x, self.y = span(xs), span(ys)

    def at(self, x, y):
        across = EDGE + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - 2 * EDGE)
        return across, HEIGHT - EDGE - (y - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - 2 * EDGE)

    def drawn(self, across, up):
        parts = []
        for y in ticks(*self.y):
            left, level = self.at(self.x[0], y)
            parts.append(f'<line class="light" x1="{left:.1f}" x2="{WIDTH - EDGE}" y1="{level:.1f}" y2="{level:.1f}"/>')
            parts.append(text(left - 6, level + 4, f"{y:.3g}", 'text-anchor="end"'))
        for x in ticks(*self.x):
            parts.append(text(self.at(x, 0)[0], HEIGHT - EDGE + 16, f"{x:.3g}", 'text-anchor="middle"'))
        parts.append(f'<path class="axis" d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}"/>')
        parts += [text(WIDTH / 2, HEIGHT - 12, across, 'text-anchor="middle"'), text(12, 24, up)]
        return parts


def span(values):
    low, high = min(*values, 0.0), max(values)
    spare = 0.05 * (high - low) or 1.0
    return low - (spare if low < 0 else 0), high + spare


def ticks(low, high):
    """Round numbers, about five of them."""
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
    return [round(k * step, 9) + 0.0 for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def plane(arms):
    """Forgetting against plasticity, with intervals. `arms`: {name: (plasticity, forgetting)}, both as (is, low, high)."""
    axes = Axes([v for p, _ in arms.values() for v in p], [v for _, f in arms.values() for v in f])
    parts = axes.drawn("plasticity, bits a byte gained on new domains", "forgetting, bits a byte lost on older ones")
    for name, (p, f) in arms.items():
        colour = COLOURS.get(name, "#000")
        (x, y), (x0, _), (x1, _) = axes.at(p[0], f[0]), axes.at(p[1], f[0]), axes.at(p[2], f[0])
        (_, y0), (_, y1) = axes.at(p[0], f[1]), axes.at(p[0], f[2])
        parts.append(f'<path stroke="{colour}" d="M{x0:.1f} {y:.1f}H{x1:.1f}M{x:.1f} {y0:.1f}V{y1:.1f}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(text(x + 7, y - 7, name, 'font-weight="bold"'))
    return svg(WIDTH, HEIGHT, parts)


def curves(points, best, at):
    """First stages at every rate and place: points, the best of them as lines, and where two arms are compared."""
    every = [p for of in points.values() for p in of]
    axes = Axes([p["plasticity"] for p in every] + [at], [p["forgetting"] for p in every])
    parts = axes.drawn("plasticity in the first stage, bits a byte", "forgetting in the first stage, bits a byte")
    for name, of in points.items():
        colour = COLOURS[name]
        for p in of:
            x, y = axes.at(p["plasticity"], p["forgetting"])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 2 * p["share"]:.1f}" fill="none" stroke="{colour}"/>')
            if p["share"] == 1.0:
                parts.append(text(x + 6, y - 5, f'{name} {p["rate"]:g}'))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (axes.at(*p) for p in best[name]))
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{line}"/>')
    x, low = axes.at(at, axes.y[0])
    parts.append(f'<path stroke="#222" stroke-dasharray="4 3" d="M{x:.1f} {low:.1f}V{EDGE}"/>')
    return svg(WIDTH, HEIGHT, parts)


def shade(share):
    """White at 0; blue below it, red above."""
    colour, part = ((178, 60, 50) if share > 0 else (38, 106, 170)), min(1.0, abs(share))
    return "#" + "".join(f"{round(255 + (c - 255) * part):02x}" for c in colour)


def matrix(rows, columns, values, told, title):
    """Cells with shades; `values[row][column]` in -1..1 and `told` the words in them."""
    left, top, wide, high = 150, 92, 74, 26
    parts = [text(8, 20, title, 'font-weight="bold"')]
    for c, name in enumerate(columns):
        x = left + c * wide + wide / 2
        parts.append(text(x, top - 8, name, f'transform="rotate(-30 {x:.1f} {top - 8})"'))
    for r, name in enumerate(rows):
        parts.append(text(left - 8, top + r * high + 17, name, 'text-anchor="end"'))
        for c in range(len(columns)):
            fill = shade(values[r][c])
            parts.append(f'<rect x="{left + c * wide}" y="{top + r * high}" width="{wide - 2}" height="{high - 2}" fill="{fill}"/>')
            ink = ' style="fill:#fff"' if abs(values[r][c]) > 0.6 else ""
            parts.append(text(left + c * wide + wide / 2 - 1, top + r * high + 17, told[r][c], f'text-anchor="middle"{ink}'))
    return svg(left + len(columns) * wide + 70, top + len(rows) * high + 16, parts)
