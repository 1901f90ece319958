# SPDX-License-Identifier: MIT
"""HTML for the report: escaping, tables, figures, the style sheet.

Prompts, replies, file names and settings are anybody's text. All of it passes through escape();
nothing else in the page comes from the file.
"""
import html
import math
import re

CSS = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --wash: #f6f8fa; --link: #0b5cad; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 2.2rem 1.4rem 5rem; color: var(--ink);
       background: #fff; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Helvetica, Arial,
       sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em;
     overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .6rem; padding-top: .9rem;
     border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .4rem; }
p, li, figcaption, .note { max-width: 46rem; }
p { margin: .6rem 0; }
a { color: var(--link); text-underline-offset: .15em; }
.soft, figcaption, .note { color: var(--soft); }
figcaption, .note { font-size: .9rem; line-height: 1.5; margin: .4rem 0 0; }
.lead { font-size: 1.08rem; }
nav { margin: 1.4rem 0 0; font-size: .92rem; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .8rem;
         margin: 1.4rem 0 0; }
.tile { border: 1px solid var(--line); border-top: 4px solid var(--colour); border-radius: 4px;
        padding: .6rem .8rem .7rem; }
.tile p { margin: 0; display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .5rem;
          font-variant-numeric: tabular-nums; }
.tile b { font-size: 1.75rem; line-height: 1.25; font-weight: 600; }
.tile small, .tile span { font-size: .85rem; line-height: 1.4; color: var(--soft); }
.tile span { display: block; }
figure { margin: 1.2rem 0 1.8rem; }
figure > div > div { break-inside: avoid; }
figcaption { break-before: avoid; }
figure svg { display: block; height: auto; max-width: 100%; }
.panels { display: grid; gap: 1rem 1.6rem;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.panels svg { width: 100%; max-width: 34rem; }
.scroll { overflow-x: auto; }
.scroll svg { min-width: var(--least); }
.scroll > div + div { margin-top: 1.4rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; margin: .8rem 0 0;
        font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .75rem; text-align: right; vertical-align: baseline;
         border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; border-bottom: 1.5px solid var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { padding-left: .2rem; }
.text { text-align: left; }
td.wrap, th.wrap { white-space: normal; min-width: 11rem; }
td small { color: var(--soft); font-size: .85em; }
tr.rule td { border-top: 2px solid #b4bcc5; }
.swatch { display: inline-block; width: .72em; height: .72em; border-radius: 2px;
          margin-right: .5em; background: var(--colour); print-color-adjust: exact;
          -webkit-print-color-adjust: exact; }
td.cell { background: rgba(0, 114, 178, calc(var(--share) * .55)); print-color-adjust: exact;
          -webkit-print-color-adjust: exact; }
code, pre, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
                   monospace; font-size: .86em; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 4px;
      padding: .8rem 1rem; overflow-x: auto; line-height: 1.45; white-space: pre-wrap;
      overflow-wrap: anywhere; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--link); }
.example { border: 1px solid var(--line); border-radius: 4px; margin: 1rem 0; break-inside: avoid; }
.example h3 { margin: 0; padding: .65rem .9rem; background: var(--wash); font-weight: 600;
              font-size: .98rem; border-bottom: 1px solid var(--line); }
.example h3 small { font-weight: 400; color: var(--soft); margin-left: .5em; }
.reply { display: grid; grid-template-columns: 15rem 1fr; gap: .1rem 1rem; padding: .5rem .9rem;
         font-size: .93rem; line-height: 1.5; }
.reply + .reply { border-top: 1px solid var(--line); }
.reply .who { font-size: .86rem; }
.reply .verdict { display: block; color: var(--soft); margin-left: 1.36em; }
.words { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .93rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  body { padding: 1.2rem .9rem 3rem; }
  .reply { grid-template-columns: 1fr; }
  .reply .verdict { display: inline; margin-left: .6em; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
}
@media print {
  @page { margin: 16mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 1.6rem; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  .scroll svg { min-width: 0; }
  a { color: inherit; text-decoration: none; }
}
"""

# Control characters are invalid in HTML and lone surrogates cannot be written; direction marks
# would show a text in another order than the model saw.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
                    "\ud800-\udfff\ufffe\uffff]")


def escape(text):
    """Text as HTML."""
    return html.escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", str(text)))


def words(text):
    """A prompt or reply: its line breaks kept, its writing direction kept to itself."""
    return f'<span class="words" dir="auto">{escape(text)}</span>'


def percent(share):
    """A share of a whole as a percentage; one decimal near the ends, which it does not round to."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 or 0.9 < share < 1 else f"{100 * share:.0f} %"


def number(value, digits=3):
    """A number with a true minus sign; a dash for what was not measured."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def span(low, high, digits=3):
    """An interval, small."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f" <small>[{number(low, digits)}, {number(high, digits)}]</small>"


def digits_for(values):
    """Decimals that show three digits of the largest of these."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=1)
    return 3 if largest == 0 else min(8, max(2, 2 - math.floor(math.log10(largest))))


def swatch(colour):
    return f'<span class="swatch" style="--colour:{colour}"></span>'


def table(head, rows, text_columns=(0,), rule_before=()):
    """`head` and cells are HTML; a cell may be (attributes, HTML). Scrolls sideways when narrow."""
    def cell(tag, column, content):
        attributes, inner = content if isinstance(content, tuple) else ("", content)
        classes = "text" if column in text_columns else ""
        if attributes.startswith("class="):
            classes, attributes = (classes + " " + attributes[7:-1]).strip(), ""
        return (f'<{tag}{" class=" + chr(34) + classes + chr(34) if classes else ""}'
                f'{" " + attributes if attributes else ""}>{inner}</{tag}>')

    lines = ['<div class="scroll"><table><thead><tr>'
             + "".join(cell("th", i, h) for i, h in enumerate(head)) + "</tr></thead><tbody>"]
    for i, row in enumerate(rows):
        mark = ' class="rule"' if i in rule_before else ""
        lines.append(f"<tr{mark}>" + "".join(cell("td", j, c) for j, c in enumerate(row)) + "</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def figure(svgs, caption, layout="scroll"):
    """One figure of one or more SVGs. layout: "panels" go side by side where there is room;
    "scroll" shrinks a little in a narrow window and then scrolls sideways."""
    inner = "".join(f"<div>{svg}</div>" for svg in svgs)
    return (f'<figure><div class="{layout}">{inner}</div>'
            f"<figcaption>{caption}</figcaption></figure>")


def details(summary, content):
    return f"<details><summary>{summary}</summary>{content}</details>"


def tile(colour, value, interval, caption):
    return (f'<div class="tile" style="--colour:{colour}"><p><b>{value}</b>{interval}</p>'
            f"<span>{caption}</span></div>")


def page(title, sections):
    """sections: (id, name, HTML); the first has no heading of its own."""
    links = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in sections[1:])
    body = [sections[0][2], f"<nav>{links}</nav>" if links else ""]
    body += [f'<section id="{key}"><h2>{name}</h2>\n{content}\n</section>'
             for key, name, content in sections[1:]]
    return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{CSS}</style></head><body>\n"
            + "\n".join(body) + "\n</body></html>\n")
