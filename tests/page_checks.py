"""What the tests of pages share."""

import html.parser

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(html.parser.HTMLParser):
    """A page that was read: its images, identifiers and text."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.ids, self.addresses = [], [], [], []
        self.tags, self.pieces = set(), []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        if tag == "svg":
            assert attrs["role"] == "img" and attrs["aria-label"]
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for name in ("src", "href", "xlink:href"):
            if name in attrs:
                self.addresses.append(attrs[name])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.pieces.append(data)

    @property
    def text(self):
        return "".join(self.pieces)


def check_page(path):
    """Reads a page: well-formed, nothing from elsewhere, every picture described."""
    source = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert {"html", "head", "title", "body", "h1"} <= page.tags
    assert not {"script", "link", "iframe"} & page.tags
    for image in page.images:
        assert image["src"].startswith("data:image/webp;base64,")
        assert len(image["alt"]) > 5
        assert int(image["width"]) > 0 and int(image["height"]) > 0
    # What is left refers to a part of a plot.
    others = [each for each in page.addresses if not each.startswith("data:")]
    assert all(each.startswith("#") and each[1:] in page.ids for each in others)
    assert "@import" not in source and "url(http" not in source
    assert len(page.ids) == len(set(page.ids))
    assert "prefers-color-scheme: dark" in source
    assert 'name="viewport"' in source
    return page
