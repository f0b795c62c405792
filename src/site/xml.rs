//! Documents of XML 1.0 in UTF-8.

use std::{borrow::Cow, io};

use actix_web::web::Bytes;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use crate::error::Error;

/// A document being written.
pub type Xml = Writer<Vec<u8>>;

/// A document of one element, whose `namespace` is that of all below it.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn document(root: &str, namespace: &str, inner: impl FnOnce(&mut Xml) -> io::Result<()>) -> Result<Bytes, Error> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let write = || {
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        xml.create_element(root).with_attribute(("xmlns", namespace)).write_inner_content(inner)?;
        Ok::<_, io::Error>(())
    };
    write().map_err(Error::internal)?;
    Ok(xml.into_inner().into())
}

/// An element with nothing but text in it.
///
/// # Errors
/// Those of the writer.
pub fn text(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(&allowed(text)))?;
    Ok(())
}

/// An element with nothing but attributes.
///
/// # Errors
/// Those of the writer.
pub fn attributes(xml: &mut Xml, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| (*name, allowed(value))).collect();
    let attributes = attributes.iter().map(|(name, value)| (*name, value.as_ref()));
    xml.create_element(name).with_attributes(attributes).write_empty()?;
    Ok(())
}

/// XML has no way to write some characters; JSON has, so they can stand in a name.
fn allowed(text: &str) -> Cow<'_, str> {
    let is_refused = |c: char| matches!(c, '\u{fffe}' | '\u{ffff}') || (c < ' ' && !matches!(c, '\t' | '\n' | '\r'));
    if text.contains(is_refused) { text.replace(is_refused, "\u{fffd}").into() } else { text.into() }
}
