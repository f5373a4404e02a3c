"""Requirements of every page: balanced tags, unique ids, a name for every control, references that lead somewhere."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr", "wbr"}
CONTROLS = {"input", "select", "textarea"}


class Page(HTMLParser):
    """Reads a page and collects what is wrong with it, its text, and its data."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.tags, self.text, self.raw = [], [], [], [], {}
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        self.wrong += [f"id {name} stands twice" for name in set(ids) if ids.count(name) > 1]
        self._references(set(ids))

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.wrong.append(f"<{tag}> has an attribute twice: {names}")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()} closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside in ("script", "style"):
            kind = self.tags[-1][1].get("type", inside)
            self.raw[kind] = self.raw.get(kind, "") + data
        else:
            self.text.append(data)

    def _references(self, ids):
        labelled = {attributes["for"] for tag, attributes in self.tags if tag == "label"}
        for tag, attributes in self.tags:
            if tag in CONTROLS and attributes.get("id") not in labelled:
                self.wrong.append(f"<{tag} {attributes}> has no label")
            target = attributes.get("href", "")
            wanted = [target[1:]] if target.startswith("#") else []
            wanted += [attributes.get("for", ""), *attributes.get("aria-labelledby", "").split()]
            self.wrong += [f"{tag} points to {name}, which is not there" for name in wanted if name and name not in ids]
            if tag == "svg" and not ("aria-label" in attributes or attributes.get("aria-hidden") == "true"):
                self.wrong.append("an svg without a name")

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())
