//! Slugs: the names of things in addresses.

use std::{fmt, iter};

use icu_normalizer::ComposingNormalizerBorrowed;

/// The most characters that a slug may have.
pub const SLUG_CHARS_MAX: usize = 100;

/// The most characters of a slug made from a name: room is left for a number behind it, and for the eye.
const MADE_CHARS_MAX: usize = 80;

/// `[a-z0-9]+(-[a-z0-9]+)*`, 1 to 100 characters, and never what could be taken for an id (a UUID, with or without its
/// hyphens), because both stand at the same place of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

/// What is wrong with a slug. Its text says the rule and what would pass; positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugFault {
    #[error("A slug has 1 to {SLUG_CHARS_MAX} characters; this one is empty.")]
    Empty,
    #[error("A slug has at most {SLUG_CHARS_MAX} characters; this one has {chars}.")]
    TooLong { chars: usize },
    #[error(
        "A slug has only the letters a to z, digits and hyphens; {found:?} at character {position} is none. `{suggestion}` would pass."
    )]
    BadCharacter { found: char, position: usize, suggestion: Slug },
    #[error(
        "A slug's words are separated by single hyphens, with none at the beginning or the end. `{suggestion}` would pass."
    )]
    BadHyphen { suggestion: Slug },
    #[error(
        "A slug never looks like an id (a UUID), because ids stand at the same place in an address. `{suggestion}` would pass."
    )]
    LikeUuid { suggestion: Slug },
}

impl SlugFault {
    /// The fault's stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::BadCharacter { .. } => "bad_character",
            Self::BadHyphen { .. } => "bad_hyphen",
            Self::LikeUuid { .. } => "like_uuid",
        }
    }
}

impl Slug {
    /// Takes a slug as it is; nothing is trimmed or lowered, because an address has one spelling.
    pub fn parse(text: &str) -> Result<Self, SlugFault> {
        if text.is_empty() {
            return Err(SlugFault::Empty);
        }
        let chars = text.chars().count();
        if chars > SLUG_CHARS_MAX {
            return Err(SlugFault::TooLong { chars });
        }
        let stranger = text.chars().zip(1..).find(|(c, _)| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
        if let Some((found, position)) = stranger {
            return Err(SlugFault::BadCharacter { found, position, suggestion: Self::from_name(text) });
        }
        if text.split('-').any(str::is_empty) {
            return Err(SlugFault::BadHyphen { suggestion: Self::from_name(text) });
        }
        if is_like_uuid(text) {
            return Err(SlugFault::LikeUuid { suggestion: Self::from_name(text) });
        }
        Ok(Self(text.to_owned()))
    }

    /// The slug that a name suggests, at most 80 characters, cut between words where that is possible.
    ///
    /// Any script is written in Latin letters; signs that tell names apart become words (`C++` is `c-plus-plus`, `.NET`
    /// is `dot-net`); apostrophes and trade marks vanish; all else separates words. It can't fail: of a name that leaves
    /// nothing the code points are written out (`'` is `x-27`). Different names may lead to the same slug: see
    /// [`Slug::numbered`].
    pub fn from_name(name: &str) -> Self {
        let plain = deunicode::deunicode_with_tofu(&spell_out(name), " ");
        let words: Vec<String> = plain
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let slug = cut(&words.join("-"), MADE_CHARS_MAX);
        if slug.is_empty() {
            return Self(code_points(name));
        }
        if is_like_uuid(&slug) {
            // At most 36 characters, so the longer one fits.
            return Self(format!("x-{slug}"));
        }
        Self(slug)
    }

    /// The slug with a number behind it, for when it is taken: `base-2`. What would exceed 100 characters is cut off
    /// the base. It can't look like a UUID: that ends in twelve hexadecimal digits, a number in ten decimal ones at most.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let ending = format!("-{number}");
        let base = cut(&self.0, SLUG_CHARS_MAX.saturating_sub(ending.len()));
        Self(format!("{base}{ending}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text could be read as a UUID: 32 hexadecimal digits, bare or grouped 8-4-4-4-12.
fn is_like_uuid(text: &str) -> bool {
    let is_hex = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    is_hex && matches!(*groups, [32] | [8, 4, 4, 4, 12])
}

/// At most `chars_max` characters (at least one) of a valid or empty slug: whole words, or the beginning of its first one
/// if that alone is too long.
fn cut(slug: &str, chars_max: usize) -> String {
    if slug.len() <= chars_max {
        return slug.to_owned();
    }
    // One more than fits: if that one is a hyphen, then the words before it fit exactly.
    let window: String = slug.chars().take(chars_max + 1).collect();
    match window.rsplit_once('-') {
        Some((words, _)) => words.to_owned(),
        None => window.chars().take(chars_max).collect(),
    }
}

/// `x-` and the first eight code points in hexadecimal: what is left of a name that has neither letters nor digits.
fn code_points(name: &str) -> String {
    let points = name.chars().take(8).map(|c| format!("{:x}", u32::from(c)));
    let words: Vec<String> = iter::once("x".to_owned()).chain(points).collect();
    words.join("-")
}

/// Replaces what the transliteration would lose or misread: signs by words, and what separates no words by nothing.
fn spell_out(name: &str) -> String {
    // Before the normalisation, which would make `TM` of the one and a space and a mark of the other.
    let unmarked: String = name.chars().filter(|c| !matches!(c, '™' | '®' | '©' | '℠' | '´')).collect();
    let chars: Vec<char> = ComposingNormalizerBorrowed::new_nfkc().normalize(&unmarked).chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied();
    let mut text = String::with_capacity(unmarked.len());
    for (index, c) in chars.iter().enumerate() {
        match c {
            '+' => text.push_str(" plus "),
            '#' | '♯' => text.push_str(" sharp "),
            '&' => text.push_str(" and "),
            '@' => text.push_str(" at "),
            '%' => text.push_str(" percent "),
            '*' | '∗' | '⋆' => text.push_str(" star "),
            // Apostrophes and soft hyphens; and the mark of a long vowel in kana, which would come out as a hyphen.
            '\'' | '‘' | '’' | '‛' | '`' | '′' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | '\u{ad}' | 'ー' => {}
            '.' => {
                let before = at(index.checked_sub(1));
                let before_that = at(index.checked_sub(2));
                text.push_str(dot(before_that, before, at(Some(index + 1))));
            }
            _ => text.push(*c),
        }
    }
    text
}

/// What a dot becomes: `dot` before a word (`.NET`), nothing after a single letter (`U.S.` is `us`), else a separator.
fn dot(before_that: Option<char>, before: Option<char>, after: Option<char>) -> &'static str {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    if !is_word(before) && before != Some('.') && is_word(after) {
        " dot "
    } else if before.is_some_and(char::is_alphabetic) && !is_word(before_that) {
        ""
    } else {
        " "
    }
}

impl serde::Serialize for Slug {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_the_slugs_that_one_expects() {
        for (name, slug) in [
            ("Foundation Model", "foundation-model"),
            ("C", "c"),
            ("C++", "c-plus-plus"),
            ("C#", "c-sharp"),
            ("Ｃ＃", "c-sharp"),
            (".NET", "dot-net"),
            ("ASP.NET", "asp-net"),
            ("Microsoft .NET Core", "microsoft-dot-net-core"),
            ("AT&T®", "at-and-t"),
            ("A*", "a-star"),
            ("100 %", "100-percent"),
            ("@handle", "at-handle"),
            ("k-means++", "k-means-plus-plus"),
            ("GPT-4o™", "gpt-4o"),
            ("GPT-3.5", "gpt-3-5"),
            ("U.S.A.", "usa"),
            ("e.g.", "eg"),
            ("Node.js", "node-js"),
            ("OpenAI", "openai"),
            ("R²", "r2"),
            ("Bayes’ theorem", "bayes-theorem"),
            ("Moore's law", "moores-law"),
            ("Résumé – Łódź", "resume-lodz"),
            ("cafe\u{301}", "cafe"),
            ("Straße", "strasse"),
            ("深度学习", "shen-du-xue-xi"),
            ("ディープラーニング", "deipuraningu"),
            ("ﾃﾞｨｰﾌﾟ", "deipu"),
            ("глубокое обучение", "glubokoe-obuchenie"),
            ("...and more...", "and-more"),
            ("  --  ", "x-20-20-2d-2d-20-20"),
            ("'", "x-27"),
            ("%", "percent"),
            ("", "x"),
            ("🚀", "rocket"),
        ] {
            assert_eq!(Slug::from_name(name).as_str(), slug, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_words() {
        let slug = Slug::from_name(&"word ".repeat(40));
        assert_eq!(slug.as_str(), ["word"; 16].join("-"));
        assert_eq!(Slug::from_name(&format!("{} b", "a".repeat(80))).as_str(), "a".repeat(80));
        assert_eq!(Slug::from_name(&"a".repeat(300)).as_str(), "a".repeat(80));
    }

    #[test]
    fn a_slug_is_taken_as_it_is() {
        for text in ["a", "0", "gpt-4", "c-plus-plus", &"a".repeat(100)] {
            assert_eq!(Slug::parse(text).map(|slug| slug.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_slug_is_refused_with_the_rule() {
        for (text, code) in [
            ("", "empty"),
            (&"a".repeat(101), "too_long"),
            ("Gpt", "bad_character"),
            ("a b", "bad_character"),
            ("é", "bad_character"),
            ("a_b", "bad_character"),
            ("a\0", "bad_character"),
            ("-a", "bad_hyphen"),
            ("a-", "bad_hyphen"),
            ("a--b", "bad_hyphen"),
            ("-", "bad_hyphen"),
            ("018f3f5e-7d2a-7c3b-9b1e-1a2b3c4d5e6f", "like_uuid"),
            ("018f3f5e7d2a7c3b9b1e1a2b3c4d5e6f", "like_uuid"),
        ] {
            let fault = Slug::parse(text).expect_err(text);
            assert_eq!(fault.code(), code, "{text:?}");
            assert!(fault.to_string().ends_with('.'));
        }
        let fault = Slug::parse("Foo Bar").expect_err("capitals");
        assert!(fault.to_string().contains("`foo-bar` would pass"), "{fault}");
    }

    #[test]
    fn a_name_like_an_id_gets_a_slug_unlike_one() {
        let slug = Slug::from_name("018F3F5E-7D2A-7C3B-9B1E-1A2B3C4D5E6F");
        assert_eq!(slug.as_str(), "x-018f3f5e-7d2a-7c3b-9b1e-1a2b3c4d5e6f");
    }

    #[test]
    fn a_number_is_put_behind_and_always_fits() {
        assert_eq!(Slug::from_name("base").numbered(2).as_str(), "base-2");
        let longest = Slug(vec!["abcd"; 20].join("-") + "z");
        assert_eq!(longest.as_str().len(), 100);
        assert_eq!(longest.numbered(u32::MAX).as_str(), format!("{}-4294967295", ["abcd"; 18].join("-")));
        assert_eq!(Slug("a".repeat(100)).numbered(10).as_str(), format!("{}-10", "a".repeat(97)));
    }

    proptest! {
        #[test]
        fn any_text_whatever_gives_a_valid_slug(name in any::<String>(), number in any::<u32>()) {
            let slug = Slug::from_name(&name);
            prop_assert_eq!(Slug::parse(slug.as_str()), Ok(slug.clone()));
            prop_assert!(slug.as_str().len() <= MADE_CHARS_MAX);
            let numbered = slug.numbered(number);
            prop_assert_eq!(Slug::parse(numbered.as_str()), Ok(numbered));
        }

        #[test]
        fn a_short_slug_is_its_own_slug(text in "[a-z0-9]{1,10}(-[a-z0-9]{1,10}){0,6}") {
            let slug = Slug::parse(&text).expect("a short slug");
            prop_assert_eq!(Slug::from_name(&text), slug);
        }

        #[test]
        fn any_slug_takes_any_number(text in "[a-z0-9]{1,40}(-[a-z0-9]{1,20}){0,2}", number in any::<u32>()) {
            if let Ok(slug) = Slug::parse(&text) {
                let numbered = slug.numbered(number);
                prop_assert!(Slug::parse(numbered.as_str()).is_ok());
            }
        }
    }
}
