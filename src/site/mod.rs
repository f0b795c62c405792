//! What the site that shows the glossary needs of it: `/sitemap.xml` and `/feed.atom`, with the addresses of its own pages.

mod feed;
mod sitemap;
mod xml;

use url::Url;

use crate::{error::Error, openapi::Routes};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(sitemap::read_sitemap).service(sitemap::read_sitemap_part).service(feed::read_feed);
}

/// The site whose pages show the glossary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteSettings {
    /// Where it shows a term; without it there is no sitemap and no feed.
    pub term_url: Option<TermUrl>,
    /// What it calls the glossary, in one line.
    pub name: String,
}

impl Default for SiteSettings {
    fn default() -> Self {
        SiteSettings { term_url: None, name: "Glossary".into() }
    }
}

impl SiteSettings {
    /// # Errors
    /// [`Error::NoSite`] where the settings name no address.
    fn term_url(&self) -> Result<&TermUrl, Error> {
        self.term_url.as_ref().ok_or(Error::NoSite)
    }
}

/// The address of a term's page on the site, such as `https://example.org/glossary/{slug}` (RFC 6570, level 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermUrl {
    /// What stands before the slug: scheme, host and a `/` at least.
    before: String,
    after: String,
    origin: String,
}

/// A sitemap's addresses have fewer than 2,048 characters; the rest is for the slug.
const TEMPLATE_CHARS_MAX: usize = 1900;

const SLUG: &str = "{slug}";

impl TermUrl {
    /// Reads a template with `{slug}` once, behind the host, spelt as browsers do.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(SLUG)?;
        let page = format!("{before}slug{after}");
        let url = Url::parse(&page).ok()?;
        let origin = url.origin().ascii_serialization();
        let fits = matches!(url.scheme(), "http" | "https")
            && url.as_str() == page
            && text.len() <= TEMPLATE_CHARS_MAX
            && !page.contains(['{', '}'])
            // What stands behind a # is the same page.
            && !before.contains('#')
            // Not the host, which names the one site that all of it is on; and no user name before it.
            && before.strip_prefix(&origin).is_some_and(|path| path.starts_with('/'));
        fits.then(|| TermUrl { before: before.into(), after: after.into(), origin })
    }

    /// A term's page.
    #[must_use]
    pub fn term(&self, slug: &str) -> String {
        format!("{}{slug}{}", self.before, self.after)
    }

    /// The glossary: the folder that all terms' addresses are in.
    #[must_use]
    pub fn glossary(&self) -> &str {
        // There is a `/` behind the host, as `parse` saw.
        self.before.rfind('/').and_then(|end| self.before.get(..=end)).unwrap_or(&self.before)
    }

    /// An address at the root of the site, where it passes ours on.
    fn root(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_takes_its_place_in_the_template() {
        for (template, page, glossary) in [
            (
                "https://example.org/glossary/{slug}",
                "https://example.org/glossary/a-b",
                "https://example.org/glossary/",
            ),
            ("https://example.org/g/term-{slug}", "https://example.org/g/term-a-b", "https://example.org/g/"),
            ("http://localhost:3000/{slug}.html", "http://localhost:3000/a-b.html", "http://localhost:3000/"),
            ("https://example.org/?term={slug}#top", "https://example.org/?term=a-b#top", "https://example.org/"),
        ] {
            let url = TermUrl::parse(template).unwrap();
            assert_eq!((url.term("a-b").as_str(), url.glossary()), (page, glossary));
        }
        assert_eq!(TermUrl::parse("https://example.org/x/{slug}").unwrap().root("/y"), "https://example.org/y");
    }
}
