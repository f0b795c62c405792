//! When two names are the same, and how they sort.
//!
//! [`fold`] is the only function that answers either question. Its result is stored beside the name as `name_key`
//! (`collate "C"`) and carries uniqueness, sort order, letters and trigrams, so that these are the same on every
//! server, whatever its locale. In doubt it keeps two names apart: an editor can always add an alias, but can't get
//! past a name that is taken by something else.
//!
//! What it does, in this order:
//!
//! 1. Trade marks (™ ® © ℠) vanish, before a decomposition would turn ™ into `tm`.
//! 2. NFKD and full case folding (Unicode 3.13, D146): width, ligatures, superscripts (`R²` is `r2`), capitals.
//! 3. What can't be seen vanishes: zero-width and bidi characters, soft hyphens, variation selectors, controls.
//! 4. Latin letters that don't decompose get plain ones: `ł ø đ` and the like lose their stroke or hook, `æ œ þ` become two letters.
//! 5. Punctuation is kept, turned into a gap between words, or vanishes: the table is `simplify`, and the three
//!    characters whose place decides (dots, hyphens, marks) are in `arrange`.
//! 6. NFC: what is left is canonical again, so Hangul and kana are whole letters.
//!
//! Whoever changes any of this (or takes a newer Unicode) has to fold every stored name again.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, Script};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most characters (Unicode scalar values) that a name may have.
pub const NAME_CHARS_MAX: usize = 200;

/// The most bytes that a name's key may have. An ordinary name's has at most 800; some characters fold to many (U+FDFA
/// to 18), and a B-tree of Postgres refuses entries beyond 2,704 bytes.
pub const KEY_BYTES_MAX: usize = 2_400;

/// The key of a name: equal for names that are the same, and in byte order the order of lists.
///
/// A name of punctuation alone (`'`, `…`) is its own key, so only a name without anything visible has an empty one, and
/// [`check_name`] refuses that. Folding a key changes nothing.
pub fn fold(name: &str) -> String {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let unmarked: String = name.chars().filter(|c| !is_dropped_whole(*c)).collect();
    let key = arrange(&simplify(&decompose(&unmarked)));
    if key.is_empty() {
        // Nothing is left that tells it from another name of punctuation: so the punctuation counts after all.
        let visible: String = name.chars().filter(|c| !is_ignorable(*c)).collect();
        let words: Vec<&str> = visible.split(is_blank).filter(|word| !word.is_empty()).collect();
        return nfc.normalize(&words.join(" ")).into_owned();
    }
    nfc.normalize(&key).into_owned()
}

/// The letter under which a name stands in an index from A to Z, from its key: `É` stands under `E`, `Æ` under `A`.
///
/// `#` takes all the rest: digits, symbols (`.NET` as well: its key sorts by its dot) every script other than Latin,
/// and the few Latin letters that are no variant of one of the 26 (`ə`).
/// In the order of keys each letter is one run, and `#` is what comes before `A` and after `Z`.
pub fn letter(name_key: &str) -> char {
    match name_key.chars().next() {
        Some(first) if first.is_ascii_lowercase() => first.to_ascii_uppercase(),
        _ => '#',
    }
}

/// Which keys stand under a letter: those from `from` on and before `until`, and those from `and_from` on; all of them where
/// there are no bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    pub from: Option<String>,
    pub until: Option<String>,
    pub and_from: Option<String>,
}

/// The runs of a letter, A to Z or `#`, as [`letter`] gives it: `#` is what stands before `a` and after `z`.
pub fn runs(letter: char) -> Runs {
    let from = letter.to_ascii_lowercase();
    match char::from_u32(u32::from(from) + 1).filter(|_| from.is_ascii_lowercase()) {
        Some(next) => Runs { from: Some(from.into()), until: Some(next.into()), and_from: None },
        None => Runs { from: None, until: Some("a".into()), and_from: Some("{".into()) },
    }
}

/// What is wrong with a name. Its text says the rule and what would pass; positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("A name needs 1 to {NAME_CHARS_MAX} characters; this one is empty.")]
    Empty,
    #[error(
        "A name has at most {NAME_CHARS_MAX} characters; this one has {chars}. Shorten it, and put the long form into the definition."
    )]
    TooLong { chars: usize },
    #[error(
        "A name's folded form has at most {KEY_BYTES_MAX} bytes; this one has {bytes}. Write its ligatures and squared characters out, or shorten it."
    )]
    KeyTooLong { bytes: usize },
    #[error("A name neither begins nor ends with white space; send it trimmed.")]
    NotTrimmed,
    #[error("A name has no null byte (U+0000), and this one has one at character {position}; remove it.")]
    NullByte { position: usize },
    #[error(
        "A name is a single line, and this one has a line break at character {position}; put a space there instead."
    )]
    LineBreak { position: usize },
    #[error(
        "A name has no control characters, and this one has U+{code_point:04X} at character {position}; remove it, or put a space there."
    )]
    ControlCharacter { code_point: u32, position: usize },
    #[error(
        "A name has no characters that change the direction of text, and this one has U+{code_point:04X} at character {position}; remove it, letters carry their direction themselves."
    )]
    BidiControl { code_point: u32, position: usize },
    #[error(
        "A name needs at least one visible character; this one has only spaces, marks or characters without width."
    )]
    NothingVisible,
}

impl NameFault {
    /// The fault's stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } | Self::KeyTooLong { .. } => "too_long",
            Self::NotTrimmed => "not_trimmed",
            Self::NullByte { .. } => "null_byte",
            Self::LineBreak { .. } => "line_break",
            Self::ControlCharacter { .. } => "control_character",
            Self::BidiControl { .. } => "bidi_control",
            Self::NothingVisible => "nothing_visible",
        }
    }
}

/// Whether a text may be the name of something; the first rule that it breaks otherwise.
///
/// Characters without width are allowed inside (emoji and Persian need them); [`fold`] sees to it that they make no
/// second name out of the same one.
pub fn check_name(text: &str) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    for (index, c) in text.chars().enumerate() {
        check_character(c, index + 1)?;
    }
    if text.trim() != text {
        return Err(NameFault::NotTrimmed);
    }
    let chars = text.chars().count();
    if chars > NAME_CHARS_MAX {
        return Err(NameFault::TooLong { chars });
    }
    if !text.chars().any(is_visible) {
        return Err(NameFault::NothingVisible);
    }
    let bytes = fold(text).len();
    if bytes > KEY_BYTES_MAX {
        return Err(NameFault::KeyTooLong { bytes });
    }
    Ok(())
}

fn check_character(c: char, position: usize) -> Result<(), NameFault> {
    let code_point = u32::from(c);
    match c {
        '\0' => Err(NameFault::NullByte { position }),
        // The mandatory breaks of UAX 14.
        '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Err(NameFault::LineBreak { position }),
        _ if c.is_control() => Err(NameFault::ControlCharacter { code_point, position }),
        _ if CodePointSetData::new::<BidiControl>().contains(c) => Err(NameFault::BidiControl { code_point, position }),
        _ => Ok(()),
    }
}

/// A character that leaves ink by itself: no space, no control, nothing without width, no mark.
fn is_visible(c: char) -> bool {
    !is_blank(c) && !is_ignorable(c) && !is_mark(c)
}

/// Spaces of all kinds; the empty braille pattern is a symbol to Unicode and a space to the eye.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// Characters that show nothing and separate nothing.
fn is_ignorable(c: char) -> bool {
    let interlinear = ('\u{fff9}'..='\u{fffb}').contains(&c);
    interlinear
        || (c.is_control() && !c.is_whitespace())
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// What has to vanish before it is decomposed: trade marks, and the acute accent that stands by itself (`L´Oréal`; U+1FFD
/// is canonically the same), which is an apostrophe to whoever types and would become a space and a mark.
fn is_dropped_whole(c: char) -> bool {
    matches!(c, '™' | '®' | '©' | '℠' | '´' | '\u{1ffd}')
}

fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// The compatibility decomposition, case folded. Twice, because each step can make work for the other (`℡`, `ᾳ`).
fn decompose(text: &str) -> String {
    let nfkd = DecomposingNormalizerBorrowed::new_nfkd();
    let case = CaseMapper::new();
    let once = nfkd.normalize(text);
    let once = nfkd.normalize(&case.fold_string(&once)).into_owned();
    nfkd.normalize(&case.fold_string(&once)).into_owned()
}

/// Brings a decomposed text down to letters, digits, marks, symbols, gaps (a space), dots and hyphens.
fn simplify(text: &str) -> String {
    let mut simple = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !is_ignorable(*c)) {
        match c {
            // Punctuation to Unicode, but part of names: C#, A*, AT&T, 100 %, @. Of dots and hyphens the place decides.
            '#' | '%' | '‰' | '&' | '*' | '@' | '.' | '-' => simple.push(c),
            // What is typeset in their place.
            '♯' => simple.push('#'),
            '∗' | '⋆' => simple.push('*'),
            // The minus is a symbol to Unicode, and a hyphen to whoever types.
            '−' => simple.push(' '),
            _ if vanishes(c) => {}
            _ if is_blank(c) => simple.push(' '),
            _ => match plain_letters(c) {
                Some(letters) => simple.push_str(letters),
                // Dashes, underscores, slashes, brackets, commas, colons, bullets and all the rest: a gap.
                None if is_punctuation(c) => simple.push(' '),
                None => simple.push(c),
            },
        }
    }
    simple
}

/// Punctuation that neither tells names apart nor separates their words.
fn vanishes(c: char) -> bool {
    // Apostrophes, primes, and Hebrew's: Bayes' and Bayes, Moore’s and Moores, Hawaiʻi and Hawaii.
    let apostrophe =
        matches!(c, '\'' | '‘' | '’' | '‚' | '‛' | '`' | '′' | '‵' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ˈ' | '׳' | '״');
    let quote =
        matches!(c, '"' | '“' | '”' | '„' | '‟' | '«' | '»' | '‹' | '›' | '「' | '」' | '『' | '』' | '《' | '》');
    // Exclamations, the full stop of Chinese, dots in the middle of words (col·lecció, ディープ・ラーニング), and the stroke
    // that only stretches Arabic words.
    let other = matches!(c, '!' | '?' | '¡' | '¿' | '。' | '·' | '‧' | '・' | 'ـ');
    apostrophe || quote || other
}

fn is_punctuation(c: char) -> bool {
    GeneralCategoryGroup::Punctuation.contains(CodePointMapData::<GeneralCategory>::new().get(c)) || c == '•'
}

/// Latin letters whose stroke, bar or hook is no mark to Unicode, and so survives decomposition. Folded, so no capitals.
/// Letters that are no variant of another (`ə ɛ ɔ ʃ`) stay what they are.
fn plain_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ⱥ' => "a",
        'æ' => "ae",
        'ƀ' | 'ɓ' | 'ƃ' => "b",
        'ƈ' | 'ȼ' => "c",
        'đ' | 'ð' | 'ɖ' | 'ɗ' | 'ƌ' => "d",
        'ɇ' => "e",
        'ƒ' => "f",
        'ǥ' | 'ɠ' | 'ɡ' => "g",
        'ħ' | 'ɦ' | 'ⱨ' => "h",
        'ı' | 'ɨ' => "i",
        'ȷ' | 'ɉ' => "j",
        'ƙ' | 'ĸ' | 'ⱪ' => "k",
        'ł' | 'ƚ' | 'ɫ' | 'ⱡ' => "l",
        'ŋ' | 'ɲ' | 'ƞ' => "n",
        'ø' | 'ɵ' => "o",
        'œ' => "oe",
        'ƥ' | 'ᵽ' => "p",
        'ɍ' | 'ɽ' => "r",
        'ŧ' | 'ƭ' | 'ʈ' | 'ⱦ' => "t",
        'þ' => "th",
        'ʉ' => "u",
        'ʋ' => "v",
        'ƴ' | 'ɏ' => "y",
        'ƶ' | 'ȥ' | 'ⱬ' => "z",
        _ => return None,
    })
}

/// Decides what depends on its place, and closes the gaps: one space between words, none around them.
///
/// - A mark after a Latin, Greek or Cyrillic letter is an accent, and dropped; elsewhere it is part of the letter
///   (Hindi's vowels, the voicing of kana). One with nothing to sit on is dropped.
/// - A dot is kept between digits (`GPT-3.5`) and before a word (`.NET`, `.5`). Two and more are a gap. Else it vanishes:
///   `U.S.` is `us`, `Node.js` is `nodejs`, `vs.` is `vs`.
/// - A hyphen is a gap: `k-means` is `k means`. Only two or more that end a word stay (`C--` is not `C`).
fn arrange(simple: &str) -> String {
    let mut key = Key::default();
    let mut rest = simple.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' => key.gap = true,
            '.' | '-' => {
                let mut count = 1;
                while rest.next_if_eq(&c).is_some() {
                    count += 1;
                }
                let next = rest.peek().copied();
                if c == '-' {
                    key.hyphens(count, next);
                } else {
                    key.dots(count, next);
                }
            }
            _ if is_mark(c) => key.mark(c),
            _ => key.push(c),
        }
    }
    key.text
}

/// A key as it is written from left to right.
#[derive(Default)]
struct Key {
    text: String,
    /// A gap came after the last character; it is written once another character follows.
    gap: bool,
    /// The last character that is no mark.
    base: Option<char>,
}

impl Key {
    fn push(&mut self, c: char) {
        if self.gap && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.gap = false;
        self.text.push(c);
        self.base = Some(c);
    }

    /// The last character, if the next one would stand directly after it.
    fn neighbour(&self) -> Option<char> {
        if self.gap { None } else { self.text.chars().next_back() }
    }

    fn mark(&mut self, mark: char) {
        let (Some(neighbour), Some(base)) = (self.neighbour(), self.base) else {
            return;
        };
        // й and ў are letters of their alphabets, not и and у with an accent; ё is printed as е.
        let is_letter = mark == '\u{306}' && matches!(neighbour, 'и' | 'у');
        if is_letter || !takes_accents(base) {
            self.text.push(mark);
        }
    }

    fn dots(&mut self, count: usize, next: Option<char>) {
        if count > 1 {
            self.gap = true;
            return;
        }
        let kept = match self.neighbour() {
            Some(before) => before.is_numeric() && next.is_some_and(char::is_numeric),
            None => next.is_some_and(char::is_alphanumeric),
        };
        if kept {
            self.push('.');
        }
    }

    fn hyphens(&mut self, count: usize, next: Option<char>) {
        let ends_word = matches!(next, None | Some(' '));
        if count > 1 && ends_word && self.neighbour().is_some_and(char::is_alphanumeric) {
            (0..count).for_each(|_| self.push('-'));
        } else {
            self.gap = true;
        }
    }
}

fn takes_accents(base: char) -> bool {
    let script = CodePointMapData::<Script>::new().get(base);
    matches!(script, Script::Latin | Script::Greek | Script::Cyrillic)
}

/// A name that passed [`check_name`], with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    text: String,
    key: String,
}

impl Name {
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        check_name(text)?;
        Ok(Name { text: text.to_owned(), key: fold(text) })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The folded name: what makes it the same as another, and sorts it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Name::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(names: &[&str]) {
        let keys: Vec<String> = names.iter().map(|name| fold(name)).collect();
        assert!(keys.iter().all(|key| Some(key) == keys.first()), "{names:?} fold to {keys:?}");
    }

    fn distinct(names: &[&str]) {
        let keys: Vec<String> = names.iter().map(|name| fold(name)).collect();
        let unique: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?} fold to {keys:?}");
    }

    #[test]
    fn case_accents_and_width_make_no_other_name() {
        same(&["Résumé", "RESUME", "resume\u{301}", "Ｒｅｓｕｍｅ"]);
        same(&["Straße", "STRASSE", "STRAẞE", "strasse"]);
        same(&["İstanbul", "istanbul", "ISTANBUL", "ıstanbul"]);
        same(&["Łódź", "Lodz"]);
        same(&["Ærø", "AERO"]);
        same(&["Þórður Đặng Ħal Œuvre", "thordur dang hal oeuvre"]);
        same(&["Ångström", "Å\u{6e}gstro\u{308}m", "angstrom"]);
        same(&["Ὀδυσσεύς", "ΟΔΥΣΣΕΥΣ", "οδυσσευς"]);
        same(&["Ёлка", "ёлка", "елка"]);
        same(&["ﬁne-tuning", "Fine tuning"]);
    }

    #[test]
    fn letters_with_marks_in_other_scripts_survive() {
        assert_eq!(fold("ディープ"), "ディープ");
        same(&["ﾃﾞｨｰﾌﾟﾗｰﾆﾝｸﾞ", "ディープラーニング", "ディープ・ラーニング"]);
        distinct(&["ディープ", "ティーフ"]);
        assert_eq!(fold("हिन्दी"), "हिन्दी");
        assert_eq!(fold("딥러닝"), "딥러닝");
        assert_eq!(fold("「深度学习」"), "深度学习");
        distinct(&["мой", "мои"]);
    }

    #[test]
    fn punctuation_that_does_not_matter_makes_no_other_name() {
        same(&["k-means", "k means", "K–Means", "k\u{2011}means", "k_means", "k − means", "k-means ", "\"k-means\""]);
        same(&["GPT-4", "GPT 4", "gpt‑4", "GPT_4", "GPT-4™"]);
        same(&["Bayes' theorem", "Bayes’ Theorem", "Bayes theorem", "Bayes´ theorem"]);
        same(&["Moore's law", "Moore’s Law", "Moores law"]);
        same(&["L'Oréal", "L´Oreal", "LOreal"]);
        same(&["U.S.", "US", "U.S", "u.s."]);
        same(&["U.S.A.", "USA"]);
        same(&["Node.js", "NodeJS"]);
        same(&["TCP/IP", "TCP-IP", "TCP IP", "TCP\\IP"]);
        same(&["Python (language)", "Python language", "Python [language]"]);
        same(&["Attention: all you need", "Attention, all you need…", "attention all you need!"]);
        same(&["AT&T®", "at&t"]);
        same(&["col·lecció", "coŀlecció", "collecció"]);
        same(&["R²", "R2", "R₂"]);
        same(&["C♯", "C#", "Ｃ＃"]);
        same(&["A∗", "A*", "A⋆", "a＊"]);
    }

    #[test]
    fn names_that_an_editor_keeps_apart_stay_apart() {
        distinct(&["C", "C++", "C#", "C*", "C--", "C/C++", "C+"]);
        distinct(&[".NET", "NET", "ASP.NET"]);
        distinct(&["F", "F#", "F*", "F1"]);
        distinct(&["A", "A*", "A+", "@"]);
        distinct(&["Q", "Q*"]);
        distinct(&["R", "R2"]);
        distinct(&["AT&T", "ATT", "AT T"]);
        distinct(&["GPT-4", "GPT-4o", "GPT4", "GPT-4.5", "GPT-45", "GPT-4 5"]);
        distinct(&["k-means", "k-means++", "kmeans"]);
        distinct(&["P(A|B)", "P(A, B)", "P(A = B)"]);
        distinct(&["=", "≠", "<", "≮"]);
        distinct(&["%", "'", "\"", "-", "—", "…", "()", "™", "®", "🙂", "🚀"]);
    }

    #[test]
    fn keys_read_as_expected() {
        for (name, key) in [
            ("  Foundation   Model ", "foundation model"),
            ("C++", "c++"),
            ("Microsoft .NET", "microsoft .net"),
            ("(.NET)", ".net"),
            ("Llama 3.1-8B", "llama 3.1 8b"),
            ("pre- and post-training", "pre and post training"),
            ("foo--bar", "foo bar"),
            ("1..10", "1 10"),
            ("...and more...", "and more"),
            ("H.264", "h264"),
            ("A/B testing", "a b testing"),
            ("R&D", "r&d"),
            ("100 %", "100 %"),
            ("'", "'"),
            (" ( ) ", "( )"),
            ("\u{200b}", ""),
        ] {
            assert_eq!(fold(name), key, "{name:?}");
        }
    }

    #[test]
    fn invisible_characters_vanish() {
        same(&["trans\u{ad}former", "trans\u{200b}former", "\u{feff}transformer", "\u{202e}transformer\u{202c}"]);
        same(&["❤\u{fe0f}", "❤"]);
        same(&["a\u{34f}b", "ab", "a\u{7}b", "a\u{e0001}b"]);
    }

    #[test]
    fn letters_run_from_a_to_z_and_all_the_rest_is_a_hash() {
        for (name, expected) in [
            ("Éclair", 'E'),
            ("zebra", 'Z'),
            ("Ærø", 'A'),
            ("Łódź", 'L'),
            ("“Attention”", 'A'),
            ("3D", '#'),
            (".NET", '#'),
            ("Ёлка", '#'),
            ("深度", '#'),
            ("'", '#'),
        ] {
            assert_eq!(letter(&fold(name)), expected, "{name:?}");
        }
        assert_eq!(letter(""), '#');
    }

    #[test]
    fn every_character_folds_to_a_fixed_point_in_every_company() {
        // Without the large blocks of ideographs and syllables, which are all alike.
        let many = ('\0'..='\u{33ff}').chain('\u{a000}'..='\u{ac80}').chain('\u{f900}'..='\u{12fff}');
        for c in many.chain('\u{1b000}'..='\u{1f9ff}').chain('\u{e0000}'..='\u{e01ff}') {
            for name in [format!("{c}"), format!("a{c}.1 {c}b-{c} и{c}.{c}3.{c}4--{c}")] {
                let key = fold(&name);
                assert_eq!(fold(&key), key, "{name:?}");
            }
            assert!(!is_visible(c) || !fold(&c.to_string()).is_empty(), "{c:?} has an empty key");
        }
    }

    #[test]
    fn a_good_name_passes() {
        for name in
            ["C", ".NET", "ディープラーニング", "%", "'", "🙂", "👩\u{200d}🔬", &"x".repeat(200), &"深".repeat(200)]
        {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_bad_name_is_refused_with_the_rule() {
        for (name, code) in [
            ("", "empty"),
            (" a", "not_trimmed"),
            ("a\u{a0}", "not_trimmed"),
            ("a\nb", "line_break"),
            ("a\u{2028}b", "line_break"),
            ("a\0b", "null_byte"),
            ("a\u{7}b", "control_character"),
            ("a\tb", "control_character"),
            ("a\u{202e}b", "bidi_control"),
            ("a\u{200f}", "bidi_control"),
            ("\u{200b}", "nothing_visible"),
            ("\u{2800}\u{301}", "nothing_visible"),
            (&"x".repeat(201), "too_long"),
            (&"\u{fdfa}".repeat(200), "too_long"),
        ] {
            let fault = check_name(name).expect_err(name);
            assert_eq!(fault.code(), code, "{name:?}");
            assert!(fault.to_string().ends_with('.'));
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(name in "\\PC{0,40}|[a-zA-Z0-9.' +#*&/()\u{301}\u{306}иעक-]{0,20}|[.\\-'3a ´]{0,12}") {
            let key = fold(&name);
            prop_assert_eq!(fold(&key), key);
        }

        #[test]
        fn canonically_equal_names_have_one_key(name in "\\PC{0,40}") {
            let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(&name).into_owned();
            prop_assert_eq!(fold(&decomposed), fold(&name));
        }

        #[test]
        fn a_name_that_passes_has_a_key(name in any::<String>()) {
            if check_name(&name).is_ok() {
                let key = fold(&name);
                prop_assert!(!key.is_empty() && key.len() <= KEY_BYTES_MAX);
                prop_assert_eq!(key.trim(), &key);
            }
        }
    }
}
