//! Reading a query string: each parameter is taken once by name, and every mistake is collected.

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use std::future::{Ready, ready};
use url::form_urlencoded;

use crate::{
    editorial::document::{Choice, nearest},
    error::{Error, Fault},
};

/// The parameters of one request.
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl FromRequest for Query {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Query::new(request.query_string())))
    }
}

impl Query {
    #[must_use]
    pub fn new(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Query { pairs, known: Vec::new(), faults: Vec::new() }
    }

    /// The parameter's value, read by `parse`, which says what is wrong as a code and a sentence.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, (&'static str, String)>,
    ) -> Option<T> {
        self.known.push(name);
        let mut values = self.pairs.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let value = values.next()?;
        if values.next().is_some() {
            self.faults.push(Fault::query(name, "duplicate", "The parameter stands more than once; leave it once."));
            return None;
        }
        if value.contains('\0') {
            self.faults.push(Fault::query(name, "null_byte", "A null byte can't stand here; leave it out."));
            return None;
        }
        match parse(value) {
            Ok(value) => Some(value),
            Err((code, detail)) => {
                self.faults.push(Fault::query(name, code, detail));
                None
            }
        }
    }

    /// The same of a parameter that must be there; `hint` says what for.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        hint: &str,
        parse: impl FnOnce(&str) -> Result<T, (&'static str, String)>,
    ) -> Option<T> {
        if !self.pairs.iter().any(|pair| pair.0 == name) {
            self.faults.push(Fault::query(name, "required", format!("The parameter \"{name}\" is missing; {hint}.")));
        }
        self.take(name, parse)
    }

    /// One of a closed list of values.
    pub fn choice<T: Choice>(&mut self, name: &'static str) -> Option<T> {
        self.take(name, |value| {
            let known = T::ALL.iter().find(|choice| choice.as_str() == value).copied();
            known.ok_or_else(|| {
                let known: Vec<_> = T::ALL.iter().map(|choice| choice.as_str()).collect();
                ("unknown_value", format!("Expected one of {}.", known.join(", ")))
            })
        })
    }

    /// `true` or `false`; `false` where it is absent.
    pub fn flag(&mut self, name: &'static str) -> bool {
        let flag = self.take(name, |value| match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(("unknown_value", "Expected one of true, false.".into())),
        });
        flag.unwrap_or_default()
    }

    /// The parameter's value as it is.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, |value| Ok(value.to_owned()))
    }

    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Refuses unknown parameters, each with the nearest known one.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with every mistake of the query.
    pub fn finish(mut self) -> Result<(), Error> {
        let mut unknown: Vec<&str> =
            self.pairs.iter().map(|pair| pair.0.as_str()).filter(|name| !self.known.contains(name)).collect();
        unknown.dedup();
        for name in unknown.into_iter().take(20) {
            let detail = match nearest(name, &self.known) {
                Some(known) => format!("Unknown parameter; did you mean \"{known}\"?"),
                None if self.known.is_empty() => "This address takes no parameters.".into(),
                None => format!("Unknown parameter; the known ones are {}.", self.known.join(", ")),
            };
            let shown: String = name.chars().take(100).collect();
            self.faults.push(Fault::query(shown, "unknown_parameter", detail));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Error::BadRequest(self.faults)) }
    }
}
