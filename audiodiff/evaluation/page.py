"""The report's look: one page without anything to fetch, for light and dark screens and for paper."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #ffffff; --ink: #1c1d22; --soft: #63656e; --line: #e3e3e0;
  --accent: #2f5fd0; --track: #ececea; --good: #12805c; --bad: #b8372b; --wash: #eef3ff; }
@media (prefers-color-scheme: dark) { :root { --paper: #131418; --card: #1b1d22; --ink: #e9e9ec; --soft: #9a9ca6;
  --line: #2d2f37; --accent: #86a8ff; --track: #2a2c34; --good: #4cc79a; --bad: #ff8a7d; --wash: #1d2538; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 48px 24px 80px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -.02em; margin: 0 0 6px; text-wrap: balance; }
h2 { font-size: 21px; letter-spacing: -.01em; margin: 56px 0 6px; }
h3 { font-size: 15px; margin: 0; }
p { max-width: 78ch; margin: 8px 0 16px; }
.soft, .meta, small { color: var(--soft); }
.meta { margin: 0 0 28px; max-width: none; }
.lead { font-size: 18px; }
.warning { border-left: 3px solid var(--bad); padding: 2px 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.scroll { overflow-x: auto; margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 10px 12px; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: 12.5px; line-height: 1.3;
  vertical-align: bottom; }
thead small { display: block; font-weight: 400; }
tbody th { font-weight: 600; min-width: 150px; line-height: 1.3; }
tr.ours { background: var(--wash); }
td b { font-weight: 600; font-size: 15px; }
td small { display: block; font-size: 12px; white-space: nowrap; }
.track { position: relative; height: 4px; border-radius: 2px; background: var(--track); margin: 5px 0 3px;
  min-width: 64px; }
.track i { position: absolute; top: 0; height: 4px; border-radius: 2px; background: var(--accent); opacity: .4; }
.track b { position: absolute; top: -2px; width: 8px; height: 8px; margin-left: -4px; border-radius: 50%;
  background: var(--accent); }
.good, .good small { color: var(--good); } .bad, .bad small { color: var(--bad); } .open { color: var(--soft); }
.clip { padding: 18px 20px 20px; margin-top: 16px; }
.clip header { display: flex; gap: 12px; justify-content: space-between; align-items: baseline; flex-wrap: wrap; }
.clip q { font-size: 16px; font-weight: 600; }
.clip img { width: 100%; height: auto; display: block; margin: 10px 0 12px; }
.players { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px 16px; }
.players figure { margin: 0; } .players figcaption { font-size: 13px; margin-bottom: 4px; color: var(--soft); }
.players .ours figcaption { color: var(--accent); font-weight: 600; }
audio { width: 100%; height: 36px; display: block; }
dl { display: grid; grid-template-columns: minmax(150px, 230px) 1fr; gap: 10px 24px; margin: 16px 0; font-size: 15px; }
dt { font-weight: 600; } dd { margin: 0; max-width: 78ch; }
dd.code { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; gap: 2px; } dd { margin-bottom: 10px; }
  h1 { font-size: 27px; } }
@media print { .clip { break-inside: avoid; } audio { display: none; } }
"""

# One player at a time: a comparison is heard one after the other.
SCRIPT = """
document.addEventListener("play", event => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);
"""


def page(title: str, body: str) -> str:
    """The whole document; `title` and `body` are HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
