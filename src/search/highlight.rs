//! Why something was found, to look at: its texts as safe HTML, in which nothing is markup but `<mark>`.

use pulldown_cmark::{Event, Parser, TagEnd};
use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use crate::{markdown, names};

/// About how many characters of a body are shown around what was found.
const EXCERPT_CHARS: usize = 160;
/// How many of them stand before it.
const LEAD_CHARS: usize = 40;

/// The words to mark.
pub struct Marks {
    key: String,
    words: Vec<String>,
    stems: Vec<String>,
    stemmer: Stemmer,
}

impl Marks {
    /// `key` is what was asked, folded; `stems` are the words of it that texts are searched for.
    #[must_use]
    pub fn new(key: String, stems: Vec<String>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        // A word that no text is searched for (`the`) is none to mark, unless nothing else was asked.
        let counts = |word: &&str| stems.is_empty() || stems.iter().any(|stem| *stem == stemmer.stem(word));
        let words = key.split(' ').filter(counts).map(ToOwned::to_owned).collect();
        Marks { key, words, stems, stemmer }
    }

    /// A name: all of it where all of it was asked for or meant, its beginning where that was, else its words.
    #[must_use]
    pub fn name(&self, name: &str, whole: bool) -> String {
        if whole {
            return marked(name);
        }
        let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
        let begins = ends.filter_map(|end| name.split_at_checked(end)).find(|(head, _)| names::fold(head) == self.key);
        if let Some((head, rest)) = begins {
            return format!("{}{}", marked(head), escaped(rest));
        }
        // Part of a word, in scripts that don't separate them.
        if let Some((head, rest)) = name.split_once(&self.key) {
            return format!("{}{}{}", escaped(head), marked(&self.key), escaped(rest));
        }
        // The last word may be the beginning of one.
        let last = self.words.last().filter(|word| word.chars().count() > 2);
        let begins = |piece: &str| last.is_some_and(|last| names::fold(piece).starts_with(last.as_str()));
        mark(name, |piece| self.is_asked(piece) || begins(piece))
    }

    /// A text, with the words that were asked for in it.
    #[must_use]
    pub fn words(&self, text: &str) -> String {
        mark(text, |piece| self.is_asked(piece))
    }

    /// The part of a body in Markdown in which words that were asked for come first; `None` where none does.
    #[must_use]
    pub fn excerpt(&self, body: &str) -> Option<String> {
        let text = plain(body);
        let at = text.split_word_bound_indices().find(|(_, piece)| self.is_asked(piece))?.0;
        let (before, after) = text.split_at_checked(at)?;
        let lead = before.char_indices().rev().nth(LEAD_CHARS).map_or(0, |(at, _)| at);
        // From the beginning of a word to the end of one.
        let lead = if lead == 0 { 0 } else { before.get(lead..)?.find(' ').map_or(at, |space| lead + space + 1) };
        let end = after.char_indices().nth(EXCERPT_CHARS - LEAD_CHARS).map_or(after.len(), |(end, _)| end);
        let end = if end == after.len() { end } else { after.get(..end)?.rfind(' ').unwrap_or(end) };
        let shown = self.words(text.get(lead..at + end)?);
        let (head, tail) = (if lead == 0 { "" } else { "… " }, if end == after.len() { "" } else { " …" });
        Some(format!("{head}{shown}{tail}"))
    }

    fn is_asked(&self, piece: &str) -> bool {
        if !piece.chars().any(char::is_alphanumeric) {
            return false;
        }
        let folded = names::fold(piece);
        let lower = piece.to_lowercase();
        let stem = self.stemmer.stem(&lower);
        self.words.contains(&folded) || self.stems.iter().any(|asked| *asked == stem)
    }
}

/// The text of a body: what Markdown would show.
fn plain(body: &str) -> String {
    let mut text = String::with_capacity(body.len());
    for event in Parser::new_ext(body, markdown::OPTIONS) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::CodeBlock | TagEnd::TableCell,
            ) => {
                text.push(' ');
            }
            _ => {}
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn mark(text: &str, is_asked: impl Fn(&str) -> bool) -> String {
    let mut html = String::with_capacity(text.len() + 32);
    for piece in text.split_word_bounds() {
        html.push_str(&if is_asked(piece) { marked(piece) } else { escaped(piece) });
    }
    html
}

fn marked(text: &str) -> String {
    format!("<mark>{}</mark>", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unmarked(html: &str) -> String {
        let text = html.replace("<mark>", "").replace("</mark>", "");
        assert!(!text.contains(['<', '>', '"', '\'']), "{html}");
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    }

    proptest! {
        /// Nothing is markup but the marks, and without them the text is what it was.
        #[test]
        fn a_highlight_is_its_text(text in "\\PC{0,80}|[<>&\"'/a-c ]{0,80}", asked in "\\PC{1,20}|[a-c<&]{1,5}") {
            let marks = Marks::new(names::fold(&asked), vec![asked.to_lowercase()]);
            prop_assert_eq!(unmarked(&marks.words(&text)), text.clone());
            prop_assert_eq!(unmarked(&marks.name(&text, false)), text.clone());
            prop_assert_eq!(unmarked(&marks.name(&text, true)), text);
        }

        #[test]
        fn an_excerpt_is_a_part_of_its_body(words in prop::collection::vec("[a-zé]{1,9}", 1..200), at in 0..200_usize) {
            let asked = &words[at % words.len()];
            let body = words.join(" ");
            let marks = Marks::new(names::fold(asked), Vec::new());
            let excerpt = unmarked(&marks.excerpt(&body).unwrap());
            let part = excerpt.trim_start_matches("… ").trim_end_matches(" …");
            let asked = names::fold(asked);
            prop_assert!(body.contains(part) && part.split(' ').any(|word| names::fold(word) == asked), "{} in {}", excerpt, body);
            prop_assert!(part.chars().count() <= EXCERPT_CHARS + 20);
        }
    }

    #[test]
    fn a_mark_is_where_the_word_is() {
        let marks = |asked: &str, stems: &[&str]| {
            Marks::new(names::fold(asked), stems.iter().map(ToString::to_string).collect())
        };
        assert_eq!(marks("found", &["found"]).name("Foundation Model", false), "<mark>Found</mark>ation Model");
        assert_eq!(marks("deja", &["deja"]).name("Déjà Vu", false), "<mark>Déjà</mark> Vu");
        assert_eq!(marks("学习", &[]).name("深度学习", false), "深度<mark>学习</mark>");
        assert_eq!(
            marks("model found", &["model", "found"]).name("Foundation Model", false),
            "<mark>Foundation</mark> <mark>Model</mark>"
        );
        assert_eq!(
            marks("the training", &["train"]).words("The trained train."),
            "The <mark>trained</mark> <mark>train</mark>."
        );
        assert_eq!(marks("the", &[]).words("Of the."), "Of <mark>the</mark>.");
    }
}
