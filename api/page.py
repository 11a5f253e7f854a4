"""The contract as a page that needs nothing from elsewhere: to find one's way, to search, to copy a call."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from api.reference import Body, Field, Json, Operation, Topics, by_surface, headline
from api.samples import HERE, LANGUAGES, call_of, value_of

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 16%, transparent);
  --soft: color-mix(in srgb, currentColor 5%, transparent); --dim: color-mix(in srgb, currentColor 66%, transparent);
  --get: #1f7a4d; --post: #1d5fb4; --put: #8a5a00; --patch: #8a5a00; --delete: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --get: #6fcf9b; --post: #82b4f5; --put: #e0b05c; --patch: #e0b05c;
  --delete: #f28b82; } }
* { box-sizing: border-box; } html { scroll-padding-top: 1rem; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.25rem 1rem; font-size: 0.86rem;
  border-right: 1px solid var(--line); }
nav input { width: 100%; font: inherit; padding: 0.45rem 0.6rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--soft); color: inherit; }
nav ul { list-style: none; margin: 0; padding: 0; } nav h2 { font-size: 0.95rem; margin: 1.3rem 0 0.3rem; }
nav h3 { font-size: 0.8rem; margin: 0.6rem 0 0.1rem; color: var(--dim); font-weight: 600; }
nav a { color: inherit; text-decoration: none; display: block; padding: 0.12rem 0.4rem; border-radius: 4px;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
nav a:hover, nav a:focus-visible { background: var(--soft); }
main { padding: 2rem clamp(1rem, 4vw, 3.5rem) 6rem; max-width: 70rem; }
h1, h2, h3, h4 { line-height: 1.25; } section.surface > h2 { margin-top: 3.5rem; padding-bottom: 0.3rem;
  border-bottom: 1px solid var(--line); }
article { padding: 1.4rem 0 1.6rem; border-bottom: 1px solid var(--line); }
article h4 { margin: 0 0 0.4rem; font: 600 1rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
h5 { margin: 1rem 0 0.2rem; font-size: 0.88rem; }
.method { font: 700 0.74rem/1 ui-monospace, monospace; margin-right: 0.5rem; }
.GET { color: var(--get); } .POST { color: var(--post); } .PUT { color: var(--put); } .PATCH { color: var(--patch); }
.DELETE { color: var(--delete); }
code, pre { font: 0.86em/1.5 ui-monospace, monospace; } .dim { color: var(--dim); font-size: 0.92em; }
pre { margin: 0; padding: 0.8rem 1rem; overflow-x: auto; background: var(--soft); border-radius: 0 6px 6px 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.92em; }
td:first-child, td:nth-child(2) { width: 30%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0;
  border-bottom: 1px solid var(--line); }
.calls { margin-top: 1rem; position: relative; } .calls button { font: inherit; font-size: 0.82rem; color: inherit;
  border: 0; padding: 0.3rem 0.7rem; border-radius: 6px 6px 0 0; background: none; cursor: pointer; }
.calls button[aria-selected="true"] { background: var(--soft); font-weight: 600; }
.calls button.copy { position: absolute; right: 0.3rem; top: 0; }
details { margin-top: 0.8rem; } summary { cursor: pointer; font-size: 0.9rem; } [hidden] { display: none !important; }
@media (max-width: 56rem) { body { display: block; } nav { position: static; height: auto; max-height: 45vh;
  border-right: 0; border-bottom: 1px solid var(--line); } }
"""

_SCRIPT = """
const all = (what, where = document) => [...where.querySelectorAll(what)];
for (const code of all(".calls code")) code.textContent = code.textContent.replaceAll(HERE, location.origin);
function show(language) {
  for (const tab of all("[role=tab]")) tab.setAttribute("aria-selected", tab.dataset.language === language);
  for (const pre of all(".calls pre")) pre.hidden = pre.dataset.language !== language;
  try { localStorage.setItem("language", language); } catch { /* a page may be read without being remembered */ }
}
for (const tab of all("[role=tab]")) tab.addEventListener("click", () => {
  const top = tab.getBoundingClientRect().top; show(tab.dataset.language);
  scrollBy({ top: tab.getBoundingClientRect().top - top, behavior: "instant" });
});
for (const copy of all(".copy")) copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(copy.parentElement.querySelector("pre:not([hidden])").textContent);
  copy.textContent = "Copied"; setTimeout(() => { copy.textContent = "Copy"; }, 1500);
});
let kept = null; try { kept = localStorage.getItem("language"); } catch { /* as above */ }
if (kept) show(kept);
const search = document.getElementById("search");
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const part of all("article")) {
    const text = part.textContent.toLowerCase();
    part.hidden = !words.every((word) => text.includes(word));
  }
  for (const link of all("nav a[data-of]")) link.hidden = document.getElementById(link.dataset.of).hidden;
  for (const group of all(".group")) group.hidden = !all("article, a[data-of]", group).some((each) => !each.hidden);
  document.getElementById("nothing").hidden = all("article").some((each) => !each.hidden);
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
});
"""

#: What the page may load: itself. Its script is named by its digest, so that nothing else runs on it.
_PROGRAM = _SCRIPT.replace("HERE", json.dumps(HERE))
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_PROGRAM.encode()).digest()).decode()}'"
)


def page(schema: Json) -> str:
    """The whole contract as HTML, by surface and within it by subject."""
    surfaces = by_surface(schema)
    info = schema["info"]
    return shell(
        f"{info['title']} {info['version']}",
        _navigation(surfaces),
        f"<p>{escape(info.get('description', ''))}</p>"
        "<p>Send your key as <code>X-API-Key</code> or as <code>Authorization: Bearer</code>. The same contract as "
        'data: <a href="/openapi.json">/openapi.json</a>, as text: <a href="/docs/api.md">/docs/api.md</a>, '
        'for language models: <a href="/llms.txt">/llms.txt</a>. What happens, as events: '
        '<a href="/docs/events">/docs/events</a>, <a href="/docs/webhooks">/docs/webhooks</a>.</p>'
        f"{''.join(_surface(schema, name, topics) for name, topics in surfaces.items())}",
    )


def shell(title: str, navigation: Iterable[str], content: str) -> str:
    """A page with a search over its articles; a link of the navigation says in `data-of` which of them it leads to."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        '<nav aria-label="Contents"><input id="search" type="search" placeholder="Search ( / )" aria-label="Search">'
        f"{''.join(navigation)}</nav><main><h1>{escape(title)}</h1>"
        f'<p id="nothing" hidden>Nothing here has all of these words.</p>{content}'
        f"</main><script>{_PROGRAM}</script></body></html>"
    )


def _navigation(surfaces: Mapping[str, Topics]) -> Iterator[str]:
    for name, topics in surfaces.items():
        yield f'<div class="group"><h2>{_title(name)}</h2>'
        for topic, entries in topics.items():
            yield f'<div class="group"><h3>{_title(topic)}</h3><ul>'
            for each in entries:
                yield (
                    f'<li><a href="#{each.name}" data-of="{each.name}" title="{each.method} {escape(each.path)}">'
                    f'<span class="method {each.method}">{each.method}</span>{escape(each.path)}</a></li>'
                )
            yield "</ul></div>"
        yield "</div>"


def _surface(schema: Json, name: str, topics: Topics) -> str:
    parts = [f'<section class="surface group"><h2>{_title(name)}</h2>']
    for topic, entries in topics.items():
        parts.append(f'<div class="group"><h3>{_title(topic)}</h3>')
        parts += [_operation(schema, each) for each in entries]
        parts.append("</div>")
    return "".join([*parts, "</section>"])


def _title(name: str) -> str:
    return escape(headline(name))


def _operation(schema: Json, operation: Operation) -> str:
    text = words(operation.text).replace("\n\n", "</p><p>")
    parts = [
        f'<article id="{operation.name}">',
        f'<h4><span class="method {operation.method}">{operation.method}</span>{escape(operation.path)}</h4>',
        f"<p>{text}</p>",
    ]
    if operation.credential:
        parts.append(f'<p class="dim">{words(operation.credential)}</p>')
    if operation.notes:
        notes = "".join(f"<li>{words(note)}</li>" for note in operation.notes)
        parts.append(f"<h5>Security notes</h5><ul>{notes}</ul>")
    if operation.parameters:
        parts += ["<h5>Parameters</h5>", table(operation.parameters)]
    for body in operation.bodies:
        parts += [f"<h5>Body <code>{escape(body.media)}</code></h5>", table(body.fields)]
    parts.append(_calls(schema, operation))
    for answer in operation.answers:
        parts.append(f"<h5>{answer.status} {words(answer.text)}</h5>")
        for body in answer.bodies:
            parts += [table(body.fields), _example(schema, body)]
    statuses = ", ".join(each.status for each in operation.refusals)
    parts.append(f"<details><summary>Refusals: {statuses}</summary>")
    for refusal in operation.refusals:
        shown = "".join(_example(schema, body) for body in refusal.bodies)
        parts.append(f"<h5>{refusal.status} {words(refusal.text)}</h5>{shown}")
    return "".join([*parts, "</details></article>"])


def _calls(schema: Json, operation: Operation) -> str:
    call = call_of(schema, operation.method, operation.path, operation.source)
    tabs, samples = [], []
    for number, (language, write) in enumerate(LANGUAGES.items()):
        tabs.append(
            f'<button role="tab" type="button" data-language="{language}" aria-selected="{str(not number).lower()}">'
            f"{language}</button>"
        )
        hidden = " hidden" if number else ""
        samples.append(f'<pre data-language="{language}"{hidden}><code>{escape(write(call), quote=False)}</code></pre>')
    copy = '<button class="copy" type="button">Copy</button>'
    return f'<div class="calls"><span role="tablist">{"".join(tabs)}</span>{copy}{"".join(samples)}</div>'


def _example(schema: Json, body: Body) -> str:
    if body.media != "application/json":
        return ""
    shown = body.content.get("example", value_of(schema, body.content.get("schema", {}), "body"))
    return f"<pre><code>{escape(json.dumps(shown, indent=2, ensure_ascii=False), quote=False)}</code></pre>"


def words(text: str) -> str:
    """A sentence whose literal words stand in backquotes."""
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text))


def table(fields: Sequence[Field]) -> str:
    """Fields with what they take and mean."""
    if not fields:
        return ""
    lines = [
        f"<tr><td><code>{escape(each.name)}</code></td>"
        f"<td>{escape(each.kind.replace('`', ''), quote=False)}</td><td>{words(each.text)}</td></tr>"
        for each in fields
    ]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'
