"""report.html: the report in one file that needs nothing else, for light and dark screens and for print."""

import base64
from collections.abc import Mapping

from markdown import markdown

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #c9c9c9; --shade: #f3f5f7; --link: #0b5394; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --line: #454a50; --shade: #22262b; --link: #8ab4f8; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); } code { background: var(--shade); padding: 0 .2em; }
blockquote { margin: 1rem 0; padding: .2rem 1rem; border-left: 4px solid var(--line); background: var(--shade); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; } th { background: var(--shade); }
img { max-width: 100%; background: #ffffff; border-radius: 4px; }
@media print { body { max-width: none; font-size: 10pt; } img, table { break-inside: avoid; } }
"""
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body>
</html>
"""


def html(text: str, figures: Mapping[str, bytes]) -> str:
    """The page of a report.md whose figures are these PNGs; they become part of it, with their text alternatives."""
    body = markdown(text, extensions=["tables", "sane_lists"])
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    for name, content in figures.items():
        inline = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        body = body.replace(f'src="{name}"', f'src="{inline}"')
    return PAGE.format(title=text.splitlines()[0].lstrip("# "), style=STYLE, body=body)
