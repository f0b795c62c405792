//! What no route takes: `404`, `405` with `Allow`, and `OPTIONS`, answered from the description.

use std::cmp::Reverse;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web::Data,
};

use super::boundary::ACCEPT_PATCH;
use crate::{
    error::Error,
    state::{Origins, State},
};

/// The addresses and methods of the description.
#[derive(Debug, Clone)]
pub struct Addresses(Vec<(Vec<Segment>, Vec<Method>)>);

#[derive(Debug, Clone)]
enum Segment {
    Fixed(String),
    /// Anything that ends so, and is longer.
    Any(String),
}

impl Addresses {
    #[must_use]
    pub fn of(description: &utoipa::openapi::OpenApi) -> Self {
        let addresses = description.paths.paths.iter().map(|(path, item)| {
            let segments = path.trim_start_matches('/').split('/').map(|segment| {
                match segment.strip_prefix('{').and_then(|segment| segment.split_once('}')) {
                    Some((_, ending)) => Segment::Any(ending.to_owned()),
                    None => Segment::Fixed(segment.to_owned()),
                }
            });
            let methods = [
                (item.get.is_some(), Method::GET),
                (item.get.is_some(), Method::HEAD),
                (item.post.is_some(), Method::POST),
                (item.put.is_some(), Method::PUT),
                (item.patch.is_some(), Method::PATCH),
                (item.delete.is_some(), Method::DELETE),
                (true, Method::OPTIONS),
            ];
            (segments.collect(), methods.into_iter().filter(|(has, _)| *has).map(|(_, method)| method).collect())
        });
        Addresses(addresses.collect())
    }

    fn methods(&self, path: &str) -> Option<&[Method]> {
        let asked: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let fits = |segments: &[Segment]| {
            segments.len() == asked.len()
                && segments.iter().zip(&asked).all(|(segment, asked)| match segment {
                    Segment::Fixed(fixed) => fixed == asked,
                    Segment::Any(ending) => asked.len() > ending.len() && asked.ends_with(ending),
                })
        };
        // `/terms/{slug}` fits what `/terms/{slug}.jsonld` does.
        let ending = |segments: &[Segment]| -> usize {
            let endings =
                segments.iter().map(|segment| if let Segment::Any(ending) = segment { ending.len() } else { 0 });
            endings.sum()
        };
        let found = self.0.iter().filter(|(segments, _)| fits(segments));
        found.min_by_key(|(segments, _)| Reverse(ending(segments))).map(|(_, methods)| methods.as_slice())
    }
}

/// The app's default service.
///
/// # Errors
/// [`Error::NoAddress`] and [`Error::MethodNotAllowed`].
pub async fn fallback(
    request: HttpRequest,
    addresses: Data<Addresses>,
    state: Data<State>,
) -> Result<HttpResponse, Error> {
    let methods = addresses.methods(request.path()).ok_or(Error::NoAddress)?;
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    if request.method() != Method::OPTIONS {
        return Err(Error::MethodNotAllowed { allow });
    }
    let allow = HeaderValue::from_str(&allow).map_err(Error::internal)?;
    let mut response = HttpResponse::NoContent();
    if methods.contains(&Method::PATCH) {
        // RFC 5789, section 3.1.
        response.insert_header((ACCEPT_PATCH, "application/merge-patch+json, application/json"));
    }
    permit(&request, methods, &allow, &state.http.write_origins, &mut response);
    response.insert_header((header::ALLOW, allow));
    response.insert_header((header::VARY, "Origin, Access-Control-Request-Method"));
    Ok(response.finish())
}

/// What a page of another origin may send here (the fetch standard's CORS protocol): reads are open to all, writes to
/// the origins that the settings name.
fn permit(
    request: &HttpRequest,
    methods: &[Method],
    allow: &HeaderValue,
    writers: &Origins,
    response: &mut HttpResponseBuilder,
) {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let reads = text(header::ACCESS_CONTROL_REQUEST_METHOD).is_none_or(|method| ["GET", "HEAD"].contains(&method));
    let may_write = text(header::ORIGIN).is_some_and(|origin| writers.contain(origin));
    if !reads && !may_write {
        // POST needs no permission as a method, so it is the missing Access-Control-Allow-Headers that stops it: neither
        // a token nor a JSON body can be sent without.
        return;
    }
    let permitted = if reads { HeaderValue::from_static("GET, HEAD, OPTIONS") } else { allow.clone() };
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, permitted));
    response.insert_header((
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID, Termbase-After, Content-Type, Cache-Control, \
         X-Request-Id, Traceparent, Tracestate",
    ));
    // A browser remembers the headers that it may send to an address whatever the method was that it asked for: those of
    // a read would let a POST to the same address pass unasked.
    let forgotten = methods.contains(&Method::POST) && !may_write;
    response.insert_header((header::ACCESS_CONTROL_MAX_AGE, if forgotten { "0" } else { "86400" }));
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::{
        OpenApiBuilder,
        path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder},
    };

    use super::*;

    #[test]
    fn an_address_has_the_methods_of_its_operations() {
        let item = |methods: &[HttpMethod]| {
            PathItem::from_http_methods(methods.iter().cloned(), OperationBuilder::new().build())
        };
        let paths = PathsBuilder::new()
            .path("/terms/{slug}", item(&[HttpMethod::Get, HttpMethod::Patch]))
            .path("/terms/{slug}.jsonld", item(&[HttpMethod::Get]))
            .build();
        let addresses = Addresses::of(&OpenApiBuilder::new().paths(paths).build());
        let expected = [Method::GET, Method::HEAD, Method::PATCH, Method::OPTIONS];
        assert_eq!(addresses.methods("/terms/x"), Some(&expected[..]));
        assert_eq!(addresses.methods("/terms/x.jsonld"), Some(&[Method::GET, Method::HEAD, Method::OPTIONS][..]));
        assert_eq!(addresses.methods("/terms/"), None);
        assert_eq!(addresses.methods("/terms/x/y"), None);
    }
}
