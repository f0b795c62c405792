//! From an editor's Markdown to HTML that any page may show.
//!
//! [CommonMark](https://spec.commonmark.org/0.31.2/) with the tables, footnotes and strikethrough of GitHub's dialect.
//! Three walls stand between a body and a reader's browser, and none relies on the others:
//!
//! 1. The events of the parser are rewritten here: raw HTML becomes visible text, and a link or an image is only made of a
//!    target that passes `Target::of`.
//! 2. ammonia keeps the elements and attributes listed in `sanitizer`, which are those that step 1 writes.
//! 3. No attribute needs `style`, so a strict Content-Security-Policy on the page costs nothing.
//!
//! The three bounds keep the time of any body below 100 ms: ammonia takes time with the square of the nesting and of the
//! ampersands in one text, and a table's short rows are filled up with cells, so that a few bytes can ask for many.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use pulldown_cmark::{Alignment, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};
use serde::{Serialize, Serializer};
use url::Url;

/// Counts the changes of what [`render`] makes of the same body. It is stored beside the HTML: at a start with a higher
/// one, what was rendered with a lower one is rendered again.
pub const RENDERER_VERSION: i16 = 1;

/// The most bytes that a body may have.
pub const BODY_BYTES_MAX: usize = 65_536;

/// The most elements that may stand inside one another. A list inside of a list counts for two: itself, and its item.
pub const NESTING_MAX: usize = 32;

/// The most elements that a body may make. Prose needs about one for each 100 bytes.
pub const ELEMENTS_MAX: usize = 20_000;

/// Why a body can't be rendered. Its text says the rule and what would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkdownFault {
    #[error("A body has at most {BODY_BYTES_MAX} bytes of UTF-8; this one has {bytes}. Split it into several terms.")]
    TooLong { bytes: usize },
    #[error(
        "A body nests at most {NESTING_MAX} elements (quotes, lists and their items, emphasis); line {line} goes deeper. Flatten it there."
    )]
    TooDeep { line: usize },
    #[error(
        "A body makes at most {ELEMENTS_MAX} elements (paragraphs, list items, cells); line {line} goes beyond. A table's short rows count as if they were filled up."
    )]
    TooManyElements { line: usize },
}

impl MarkdownFault {
    /// The fault's stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyElements { .. } => "too_many_elements",
        }
    }

    /// The line of the body that it is about, from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::TooLong { .. } => None,
            Self::TooDeep { line } | Self::TooManyElements { line } => Some(*line),
        }
    }
}

/// A body that renders: its Markdown, with its HTML where that was made already. Two are the same if their Markdown is.
#[derive(Debug, Clone, Default)]
pub struct Body {
    text: String,
    html: Option<String>,
}

impl Body {
    /// # Errors
    /// What the renderer refuses.
    pub fn parse(text: &str) -> Result<Self, MarkdownFault> {
        Ok(Body { html: Some(render(text)?), text: text.to_owned() })
    }

    /// One that is stored, and so has passed.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Body { text, html: None }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a newer renderer refuses of what an older one took stays empty.
    #[must_use]
    pub fn html(&self) -> Cow<'_, str> {
        match &self.html {
            Some(html) => Cow::Borrowed(html),
            None => Cow::Owned(render(&self.text).unwrap_or_default()),
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Body {}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The HTML of a body: a fragment of well-formed flow content, to be put into an element of the page.
///
/// A link to another site has `rel="noopener nofollow"`. One that may not pass (anything but http, https, mailto and
/// relative) leaves its text, an image that may not pass (anything but https and relative) its description. The ids
/// that footnotes need begin with `body-`, so that they meet none of the page's own. Footnotes stand at the end, in the
/// order in which they are referred to, and behind them those that nothing refers to.
pub fn render(body: &str) -> Result<String, MarkdownFault> {
    if body.len() > BODY_BYTES_MAX {
        return Err(MarkdownFault::TooLong { bytes: body.len() });
    }
    let (events, notes) = read(body)?;
    let mut writer = Writer::new(notes);
    writer.write(events);
    writer.write_notes();
    let mut unsafe_html = String::with_capacity(body.len() * 2);
    html::push_html(&mut unsafe_html, writer.out.into_iter());
    Ok(sanitizer().clean(&unsafe_html).to_string())
}

/// A footnote's definition.
struct Note<'a> {
    label: CowStr<'a>,
    events: Vec<Event<'a>>,
}

impl Note<'_> {
    /// What references are compared with; labels don't tell capitals apart.
    fn key(&self) -> String {
        self.label.to_lowercase()
    }
}

/// What a body may have beyond CommonMark.
pub(crate) const OPTIONS: Options =
    Options::ENABLE_TABLES.union(Options::ENABLE_FOOTNOTES).union(Options::ENABLE_STRIKETHROUGH);

/// Parses within the bounds, and takes the footnotes' definitions out of the text. Markdown lets them stand anywhere, in a
/// quote or in one another.
fn read(body: &str) -> Result<(Vec<Event<'_>>, Vec<Note<'_>>), MarkdownFault> {
    let line_of = |offset: usize| 1 + body.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let (mut nesting, mut elements) = (0, 0);
    let mut text = Vec::new();
    let mut open: Vec<Note<'_>> = Vec::new();
    let mut notes = Vec::new();
    for (event, span) in Parser::new_ext(body, OPTIONS).into_offset_iter() {
        match &event {
            Event::Start(_) => {
                nesting += 1;
                elements += 1;
            }
            Event::End(_) => nesting -= 1,
            Event::HardBreak | Event::Rule | Event::FootnoteReference(_) => elements += 1,
            _ => {}
        }
        if nesting > NESTING_MAX {
            return Err(MarkdownFault::TooDeep { line: line_of(span.start) });
        }
        if elements > ELEMENTS_MAX {
            return Err(MarkdownFault::TooManyElements { line: line_of(span.start) });
        }
        match event {
            Event::Start(Tag::FootnoteDefinition(label)) => open.push(Note { label, events: Vec::new() }),
            Event::End(TagEnd::FootnoteDefinition) => notes.extend(open.pop()),
            event => open.last_mut().map_or(&mut text, |note| &mut note.events).push(event),
        }
    }
    Ok((text, notes))
}

/// Rewrites the parser's events into those that may be written.
struct Writer<'a> {
    out: Vec<Event<'a>>,
    /// The definitions that were not written yet, in the order of the body, and where each label's first one is.
    waiting: Vec<Option<Note<'a>>>,
    by_label: HashMap<String, usize>,
    /// The number of each label, and the definitions that were referred to but not written yet, in the order of numbers.
    numbers: HashMap<String, usize>,
    referred: VecDeque<Note<'a>>,
    last_number: usize,
    /// For each link and each image that is open: whether it was let through.
    links: Vec<bool>,
    images: Vec<bool>,
    columns: Vec<Alignment>,
    column: usize,
    in_table_head: bool,
}

impl<'a> Writer<'a> {
    fn new(notes: Vec<Note<'a>>) -> Self {
        let mut by_label = HashMap::new();
        for (index, note) in notes.iter().enumerate() {
            by_label.entry(note.key()).or_insert(index);
        }
        Self {
            out: Vec::new(),
            waiting: notes.into_iter().map(Some).collect(),
            by_label,
            numbers: HashMap::new(),
            referred: VecDeque::new(),
            last_number: 0,
            links: Vec::new(),
            images: Vec::new(),
            columns: Vec::new(),
            column: 0,
            in_table_head: false,
        }
    }

    fn write(&mut self, events: Vec<Event<'a>>) {
        for event in events {
            match event {
                Event::Start(tag) => self.start(tag),
                Event::End(end) => self.end(end),
                // Raw HTML: what the editor wrote is shown, not obeyed.
                Event::Html(text) | Event::InlineHtml(text) => self.out.push(Event::Text(text)),
                Event::FootnoteReference(label) => self.reference(&label),
                other => self.out.push(other),
            }
        }
    }

    fn start(&mut self, tag: Tag<'a>) {
        match tag {
            Tag::HtmlBlock => self.out.push(Event::Start(Tag::Paragraph)),
            Tag::Link { link_type, dest_url, title, .. } => self.link(link_type, &dest_url, &title),
            Tag::Image { dest_url, title, .. } => self.image(&dest_url, title),
            Tag::Table(columns) => {
                self.columns = columns;
                // The renderer would write the alignment as a style.
                self.out.push(Event::Start(Tag::Table(Vec::new())));
            }
            Tag::TableHead | Tag::TableRow => {
                self.column = 0;
                self.in_table_head = matches!(tag, Tag::TableHead);
                self.out.push(Event::Start(tag));
            }
            Tag::TableCell => self.cell(),
            tag => self.out.push(Event::Start(tag)),
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::HtmlBlock => self.out.push(Event::End(TagEnd::Paragraph)),
            TagEnd::Link => {
                if self.links.pop() == Some(true) {
                    self.html("</a>");
                }
            }
            TagEnd::Image => {
                if self.images.pop() == Some(true) {
                    self.out.push(Event::End(end));
                }
            }
            end => self.out.push(Event::End(end)),
        }
    }

    fn html(&mut self, html: impl Into<CowStr<'a>>) {
        self.out.push(Event::InlineHtml(html.into()));
    }

    /// Whether we are in the description of an image, which is plain text.
    fn is_in_image(&self) -> bool {
        self.images.contains(&true)
    }

    fn link(&mut self, link_type: LinkType, address: &str, title: &str) {
        let address = match link_type {
            LinkType::Email => encode(&format!("mailto:{address}")),
            _ => encode(address),
        };
        let target = if self.is_in_image() { None } else { Target::of(&address) };
        self.links.push(target.is_some());
        let Some(target) = target else { return };
        let title = if title.is_empty() { String::new() } else { format!(" title=\"{}\"", escape(title)) };
        let rel = match target {
            Target::OtherSite { .. } => " rel=\"noopener nofollow\"",
            Target::ThisSite | Target::Mail => "",
        };
        self.html(format!("<a href=\"{}\"{title}{rel}>", escape(&address)));
    }

    fn image(&mut self, address: &str, title: CowStr<'a>) {
        let address = encode(address);
        let passes = match Target::of(&address) {
            Some(Target::ThisSite | Target::OtherSite { is_https: true }) => !self.is_in_image(),
            Some(Target::OtherSite { is_https: false } | Target::Mail) | None => false,
        };
        self.images.push(passes);
        if passes {
            let (link_type, dest_url, id) = (LinkType::Inline, address.into(), "".into());
            self.out.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
        }
    }

    fn cell(&mut self) {
        let align = match self.columns.get(self.column) {
            Some(Alignment::Left) => Some("left"),
            Some(Alignment::Center) => Some("center"),
            Some(Alignment::Right) => Some("right"),
            Some(Alignment::None) | None => None,
        };
        self.column += 1;
        let name = if self.in_table_head { "th" } else { "td" };
        match align {
            Some(align) => self.html(format!("<{name} align=\"{align}\">")),
            None => self.out.push(Event::Start(Tag::TableCell)),
        }
    }

    /// A reference to a footnote. The first one is where the footnote leads back to.
    fn reference(&mut self, label: &str) {
        let key = label.to_lowercase();
        let Some(index) = self.by_label.get(&key).copied() else {
            // The parser makes references of defined labels only; whatever it thinks of capitals, no text is lost.
            self.out.push(Event::Text(format!("[^{label}]").into()));
            return;
        };
        let (number, id) = if let Some(number) = self.numbers.get(&key) {
            (*number, String::new())
        } else {
            self.referred.extend(self.waiting.get_mut(index).and_then(Option::take));
            let number = self.number(key);
            (number, format!(" id=\"body-fnref-{number}\""))
        };
        self.html(format!("<sup class=\"footnote-reference\"{id}><a href=\"#body-fn-{number}\">{number}</a></sup>"));
    }

    fn number(&mut self, key: String) -> usize {
        self.last_number += 1;
        self.numbers.entry(key).or_insert(self.last_number);
        self.last_number
    }

    /// Writes the footnotes, in the order of their numbers; the text of one may refer to further ones.
    fn write_notes(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.html("<section class=\"footnotes\">\n<ol>\n");
        let mut written = 0;
        for index in 0..=self.waiting.len() {
            while let Some(note) = self.referred.pop_front() {
                written += 1;
                self.write_note(note, written, true);
            }
            // Nothing refers to it: it is an editor's text nevertheless, and stays visible.
            if let Some(note) = self.waiting.get_mut(index).and_then(Option::take) {
                written = self.number(note.key());
                self.write_note(note, written, false);
            }
        }
        self.html("</ol>\n</section>\n");
    }

    fn write_note(&mut self, mut note: Note<'a>, number: usize, leads_back: bool) {
        self.html(format!("<li id=\"body-fn-{number}\">\n"));
        let paragraph_end = note.events.pop_if(|event| matches!(event, Event::End(TagEnd::Paragraph)));
        self.write(note.events);
        if leads_back {
            // The variation selector keeps the arrow from being shown as an emoji.
            self.html(format!(" <a href=\"#body-fnref-{number}\" class=\"footnote-backref\">\u{21a9}\u{fe0e}</a>"));
        }
        self.out.extend(paragraph_end);
        self.html("</li>\n");
    }
}

/// Where an address leads, of those that a body may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    ThisSite,
    OtherSite { is_https: bool },
    Mail,
}

impl Target {
    /// Reads an address as a browser does (the [URL standard](https://url.spec.whatwg.org/)), so that there is no second
    /// opinion on where its scheme ends. Nothing for an address that may not pass.
    fn of(address: &str) -> Option<Self> {
        match Url::parse(address) {
            Ok(url) => match url.scheme() {
                "https" => Some(Self::OtherSite { is_https: true }),
                "http" => Some(Self::OtherSite { is_https: false }),
                "mailto" => Some(Self::Mail),
                _ => None,
            },
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                // `//host`, but also `/\host`: whether it leaves the site shows when it is resolved.
                let site = Url::parse("https://site.invalid/").ok()?;
                let resolved = site.join(address).ok()?;
                let stays = resolved.origin() == site.origin();
                Some(if stays { Self::ThisSite } else { Self::OtherSite { is_https: false } })
            }
            Err(_) => None,
        }
    }
}

/// Percent-encodes what can't stand in an attribute's address: quotes, angle brackets, spaces and all beyond ASCII.
/// Tabs and line breaks go, as they do in a browser: they would only hide a scheme.
fn encode(address: &str) -> String {
    let percent = |byte: u8| format!("%{byte:02X}");
    let mut encoded = String::with_capacity(address.len());
    for byte in address.trim_matches(|c: char| c <= ' ').bytes() {
        match byte {
            b'\t' | b'\n' | b'\r' => {}
            b'"' | b'<' | b'>' | b'`' => encoded.push_str(&percent(byte)),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&percent(byte)),
        }
    }
    encoded
}

/// Escapes a text for an attribute in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Keeps the elements and attributes that the renderer and [`Writer`] write, and nothing else.
fn sanitizer() -> ammonia::Builder<'static> {
    let one_of = |values: &[&'static str]| values.iter().copied().collect::<HashSet<_>>();
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(one_of(&[
            "a",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "img",
            "li",
            "ol",
            "p",
            "pre",
            "section",
            "strong",
            "sup",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]))
        .generic_attributes(HashSet::new())
        .tag_attributes(HashMap::from([
            ("a", one_of(&["href", "title"])),
            ("code", one_of(&["class"])),
            ("img", one_of(&["alt", "src", "title"])),
            ("li", one_of(&["id"])),
            ("ol", one_of(&["start"])),
            ("sup", one_of(&["id"])),
        ]))
        .tag_attribute_values(HashMap::from([
            ("a", HashMap::from([("class", one_of(&["footnote-backref"])), ("rel", one_of(&["noopener nofollow"]))])),
            ("section", HashMap::from([("class", one_of(&["footnotes"]))])),
            ("sup", HashMap::from([("class", one_of(&["footnote-reference"]))])),
            ("td", HashMap::from([("align", one_of(&["left", "center", "right"]))])),
            ("th", HashMap::from([("align", one_of(&["left", "center", "right"]))])),
        ]))
        .url_schemes(one_of(&["http", "https", "mailto"]))
        // Ours: the writer knows which links leave the site, ammonia would mark all.
        .link_rel(None)
        .attribute_filter(|element, attribute, value| {
            let passes = match (element, attribute) {
                ("code", "class") => value.strip_prefix("language-").is_some_and(is_language),
                (_, "id") => value.starts_with("body-fn"),
                _ => true,
            };
            passes.then_some(Cow::Borrowed(value))
        });
    builder
}

/// Whether a word may name a code block's language: `c++`, `objective-c`, `f#`, `asp.net`.
fn is_language(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'#' | b'.' | b'-' | b'_');
    (1..=40).contains(&word.len()) && word.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn html(body: &str) -> String {
        render(body).unwrap_or_else(|fault| panic!("{body:?}: {fault}"))
    }

    /// The elements of rendered HTML with their attributes, values unescaped. Only good for what a serializer wrote:
    /// every `<` begins a tag, every value stands in double quotes.
    fn elements(html: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut elements = Vec::new();
        let mut rest = html;
        while let Some((_, tag)) = rest.split_once('<') {
            let name_end = tag.find([' ', '>']).expect("an end of the tag");
            let (name, mut inside) = tag.split_at(name_end);
            let mut attributes = Vec::new();
            while let Some(attribute) = inside.strip_prefix(' ') {
                let (key, value) = attribute.split_once("=\"").expect("an attribute's value");
                let (value, after) = value.split_once('"').expect("the end of a value");
                let value = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
                attributes.push((key.to_owned(), value.replace("&nbsp;", "\u{a0}").replace("&amp;", "&")));
                inside = after;
            }
            rest = inside.strip_prefix('>').expect("the tag's end");
            elements.push((name.to_owned(), attributes));
        }
        elements
    }

    fn is_harmless(html: &str) -> Result<(), String> {
        let allowed = ["href", "title", "rel", "class", "id", "src", "alt", "align", "start"];
        for (name, attributes) in elements(html) {
            for (key, value) in attributes {
                if !allowed.contains(&key.as_str()) {
                    return Err(format!("{name} has {key}"));
                }
                let schemes: &[&str] = match key.as_str() {
                    "href" => &["http", "https", "mailto"],
                    "src" => &["https"],
                    _ => continue,
                };
                let scheme = Url::parse(&value).map(|url| url.scheme().to_owned());
                let passes = match &scheme {
                    Ok(scheme) => schemes.contains(&scheme.as_str()),
                    Err(fault) => *fault == url::ParseError::RelativeUrlWithoutBase,
                };
                if !passes || value.to_lowercase().starts_with("javascript:") {
                    return Err(format!("{name} {key} leads to {value:?}"));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn commonmark_tables_and_strikethrough_are_rendered() {
        for (body, expected) in [
            ("", ""),
            ("# A\n\ntext", "<h1>A</h1>\n<p>text</p>\n"),
            ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <del>c</del> <code>d</code></p>\n"),
            ("a\\\nb", "<p>a<br>\nb</p>\n"),
            ("3. a\n4. b", "<ol start=\"3\">\n<li>a</li>\n<li>b</li>\n</ol>\n"),
            ("> a\n\n---", "<blockquote>\n<p>a</p>\n</blockquote>\n<hr>\n"),
            ("```rust\nfn a() {}\n```", "<pre><code class=\"language-rust\">fn a() {}\n</code></pre>\n"),
            ("```c++ x\n```", "<pre><code class=\"language-c++\"></code></pre>\n"),
            ("```a\"onclick=\"b\n```", "<pre><code></code></pre>\n"),
            (
                "|a|b|c|d|\n|:-|:-:|-:|-|\n|1|2|3|4|",
                "<table><thead><tr><th align=\"left\">a</th><th align=\"center\">b</th><th align=\"right\">c</th><th>d</th></tr></thead><tbody>\n<tr><td align=\"left\">1</td><td align=\"center\">2</td><td align=\"right\">3</td><td>4</td></tr>\n</tbody></table>\n",
            ),
        ] {
            assert_eq!(html(body), expected, "{body:?}");
        }
    }

    #[test]
    fn raw_html_is_shown_and_not_obeyed() {
        assert_eq!(html("a <b onclick=x>c</b>"), "<p>a &lt;b onclick=x&gt;c&lt;/b&gt;</p>\n");
        assert_eq!(html("<script>\nalert(1)\n</script>"), "<p>&lt;script&gt;\nalert(1)\n&lt;/script&gt;</p>\n");
        assert_eq!(html("<!-- note -->"), "<p>&lt;!-- note --&gt;</p>\n");
        assert_eq!(html("![a <b> \"c\"](/d)"), "<p><img src=\"/d\" alt=\"a &lt;b&gt; &quot;c&quot;\"></p>\n");
    }

    #[test]
    fn links_that_leave_the_site_say_so() {
        for (body, expected) in [
            ("[a](/terms/x)", "<a href=\"/terms/x\">a</a>"),
            ("[a](x?y=1&z=2#w)", "<a href=\"x?y=1&amp;z=2#w\">a</a>"),
            ("[a](#b 'c \"d\"')", "<a href=\"#b\" title=\"c &quot;d&quot;\">a</a>"),
            ("[a](https://b.example/)", "<a href=\"https://b.example/\" rel=\"noopener nofollow\">a</a>"),
            ("[a](HTTP://b.example/)", "<a href=\"HTTP://b.example/\" rel=\"noopener nofollow\">a</a>"),
            ("[a](//b.example)", "<a href=\"//b.example\" rel=\"noopener nofollow\">a</a>"),
            ("[a](/\\b.example)", "<a href=\"/\\b.example\" rel=\"noopener nofollow\">a</a>"),
            ("[a](</&#9;/b.example>)", "<a href=\"//b.example\" rel=\"noopener nofollow\">a</a>"),
            (
                "<https://b.example/é>",
                "<a href=\"https://b.example/%C3%A9\" rel=\"noopener nofollow\">https://b.example/é</a>",
            ),
            ("[a](mailto:b@c.example)", "<a href=\"mailto:b@c.example\">a</a>"),
            ("<b@c.example>", "<a href=\"mailto:b@c.example\">b@c.example</a>"),
        ] {
            assert_eq!(html(body), format!("<p>{expected}</p>\n"), "{body:?}");
        }
    }

    #[test]
    fn images_are_https_or_of_the_site() {
        for (body, expected) in [
            ("![a](https://b.example/c.png 't')", "<img src=\"https://b.example/c.png\" alt=\"a\" title=\"t\">"),
            ("![a *b* [c](/d) ![e](/f)](/g)", "<img src=\"/g\" alt=\"a b c e\">"),
            ("![a *b*](http://b.example/c.png)", "a <em>b</em>"),
            ("![a](//b.example/c.png)", "a"),
            ("![a](mailto:b@c.example)", "a"),
            ("![a](data:image/png;base64,AAAA)", "a"),
            ("![a](javascript:b)", "a"),
            ("[![a](/b)](/c)", "<a href=\"/c\"><img src=\"/b\" alt=\"a\"></a>"),
            ("![a ![b](/c) d](data:e)", "a <img src=\"/c\" alt=\"b\"> d"),
        ] {
            assert_eq!(html(body), format!("<p>{expected}</p>\n"), "{body:?}");
        }
    }

    #[test]
    fn no_script_gets_through_in_any_disguise() {
        for address in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "javascript&#58;alert(1)",
            "javascript&colon;alert(1)",
            "&#x6a;avascript:alert(1)",
            "&#0000106avascript:alert(1)",
            "java&#9;script:alert(1)",
            "java&Tab;script:alert(1)",
            "java&NewLine;script:alert(1)",
            "java&#13;script:alert(1)",
            "java\tscript:alert(1)",
            "java\\script:alert(1)",
            "&#1;javascript:alert(1)",
            " javascript:alert(1)",
            "&nbsp;javascript:alert(1)",
            "javascript\\:alert(1)",
            "javascript://%0Aalert(1)",
            "vbscript:x",
            "data:text/html,<script>alert(1)</script>",
            "DATA:text/html;base64,PHNjcmlwdD4=",
            "d&#97;ta:text/html,x",
            "blob:https://a.example/b",
            "file:///etc/passwd",
            "view-source:javascript:x",
            "x\" onclick=\"alert(1)",
            "'onclick='alert(1)",
        ] {
            let bodies = [
                format!("[a]({address})"),
                format!("[a](<{address}>)"),
                format!("![a]({address})"),
                format!("![a](<{address}>)"),
                format!("<{address}>"),
                format!("[a]\n\n[a]: {address}"),
                format!("[a]\n\n[a]: <{address}>"),
                format!("<a href=\"{address}\">a</a>"),
                format!("[a](/b \"{address}\")"),
            ];
            for body in bodies {
                let html = html(&body);
                assert_eq!(is_harmless(&html), Ok(()), "{body:?} became {html}");
            }
        }
    }

    #[test]
    fn footnotes_stand_at_the_end_in_the_order_of_their_references() {
        let body = "a[^y] b[^X] c[^y]\n\n[^x]: x[^z]\n[^y]: y\n\n[^lost]: lost\n\n[^z]: z";
        let back =
            |number| format!(" <a href=\"#body-fnref-{number}\" class=\"footnote-backref\">\u{21a9}\u{fe0e}</a>");
        let expected = [
            "<p>a<sup class=\"footnote-reference\" id=\"body-fnref-1\"><a href=\"#body-fn-1\">1</a></sup>",
            " b<sup class=\"footnote-reference\" id=\"body-fnref-2\"><a href=\"#body-fn-2\">2</a></sup>",
            " c<sup class=\"footnote-reference\"><a href=\"#body-fn-1\">1</a></sup></p>\n",
            "<section class=\"footnotes\">\n<ol>\n",
            &format!("<li id=\"body-fn-1\">\n<p>y{}</p>\n</li>\n", back(1)),
            "<li id=\"body-fn-2\">\n<p>x<sup class=\"footnote-reference\" id=\"body-fnref-3\"><a href=\"#body-fn-3\">3</a></sup>",
            &format!("{}</p>\n</li>\n", back(2)),
            &format!("<li id=\"body-fn-3\">\n<p>z{}</p>\n</li>\n", back(3)),
            "<li id=\"body-fn-4\">\n<p>lost</p>\n</li>\n",
            "</ol>\n</section>\n",
        ];
        assert_eq!(html(body), expected.concat());
        assert_eq!(html("a[^x]"), "<p>a[^x]</p>\n");
    }

    #[test]
    fn a_footnote_inside_of_a_link_or_an_image_takes_precedence() {
        // As CommonMark has it of links inside of links: two of them can't be nested.
        for body in ["[a[^x]](/b)\n\n[^x]: x", "![a[^x]](/b)\n\n[^x]: x"] {
            let html = html(body);
            assert!(html.contains("[a<sup class=") && html.contains("</sup>](/b)</p>"), "{html}");
        }
        assert!(html("a[^X]\n\n[^x]: x").contains("href=\"#body-fn-1\""));
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused_with_its_line() {
        let fault = render(&"a".repeat(BODY_BYTES_MAX + 1)).expect_err("too long");
        assert_eq!((fault.code(), fault.line()), ("too_long", None));
        assert!(render(&"a".repeat(BODY_BYTES_MAX)).is_ok());

        let quotes = |depth| format!("a\n\n{}a", "> ".repeat(depth));
        // The paragraph inside counts as well.
        assert!(render(&quotes(NESTING_MAX - 1)).is_ok());
        let fault = render(&quotes(NESTING_MAX)).expect_err("too deep");
        assert_eq!((fault.code(), fault.line()), ("too_deep", Some(3)));

        let fault = render(&"a\n\n".repeat(ELEMENTS_MAX + 1)).expect_err("too many");
        assert_eq!((fault.code(), fault.line()), ("too_many_elements", Some(2 * ELEMENTS_MAX + 1)));
    }

    #[test]
    fn a_table_that_asks_for_many_cells_with_few_bytes_is_refused() {
        let row = |cell: &str| format!("|{}\n", format!("{cell}|").repeat(1000));
        let body = format!("{}{}{}", row("a"), row("-"), "|b|\n".repeat(1000));
        assert_eq!(render(&body).map_err(|fault| fault.code()), Err("too_many_elements"));
    }

    #[test]
    fn null_bytes_do_not_reach_the_html() {
        assert!(!html("a\0b `\0` [c](/\0 '\0')").contains('\0'));
    }

    proptest! {
        #[test]
        fn whatever_is_written_the_html_is_harmless(body in "(\\PC|\n){0,80}|([\\[\\]()<>!*_`~|^:&;#\"'/ \n\t=-]|a|javascript:|<script|onload=|data:|&#|https://b.c|\\[\\^a\\]|\\[\\^a\\]: |\\[a\\]: ){0,40}") {
            if let Ok(html) = render(&body) {
                prop_assert!(!html.to_lowercase().contains("<script"), "{}", html);
                let harmless = is_harmless(&html);
                prop_assert!(harmless.is_ok(), "{:?} in {}", harmless, html);
            }
        }

        #[test]
        fn sanitizing_the_html_again_changes_nothing(body in "([\\[\\]()<>!*_`~|^:&;#\"'/ \n\t=-]|a|https://b.c|\\[\\^a\\]|\\[\\^a\\]: |\\[a\\]: ){0,40}") {
            if let Ok(html) = render(&body) {
                prop_assert_eq!(sanitizer().clean(&html).to_string(), html);
            }
        }
    }
}
