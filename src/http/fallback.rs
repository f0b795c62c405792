//! What no route takes: `404`, `405` with `Allow`, and `OPTIONS`, answered from the description.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web::Data,
};

use crate::error::Error;

/// The addresses and methods of the description.
#[derive(Debug, Clone)]
pub struct Addresses(Vec<(Vec<Segment>, Vec<Method>)>);

#[derive(Debug, Clone)]
enum Segment {
    Fixed(String),
    Any,
}

impl Addresses {
    #[must_use]
    pub fn of(description: &utoipa::openapi::OpenApi) -> Self {
        let addresses = description.paths.paths.iter().map(|(path, item)| {
            let segments = path.trim_start_matches('/').split('/').map(|segment| {
                if segment.starts_with('{') { Segment::Any } else { Segment::Fixed(segment.to_owned()) }
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
                    Segment::Any => !asked.is_empty(),
                })
        };
        self.0.iter().find(|(segments, _)| fits(segments)).map(|(_, methods)| methods.as_slice())
    }
}

/// The app's default service.
///
/// # Errors
/// [`Error::NoAddress`] and [`Error::MethodNotAllowed`].
pub async fn fallback(request: HttpRequest, addresses: Data<Addresses>) -> Result<HttpResponse, Error> {
    let methods = addresses.methods(request.path()).ok_or(Error::NoAddress)?;
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    if request.method() != Method::OPTIONS {
        return Err(Error::MethodNotAllowed { allow });
    }
    let allow = HeaderValue::from_str(&allow).map_err(Error::internal)?;
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ALLOW, allow.clone()));
    // A preflight (the fetch standard's CORS protocol): open for reads.
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"));
    response.insert_header((
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, If-Match, If-None-Match, Idempotency-Key, Termbase-After, Content-Type, Cache-Control, \
         X-Request-Id, Traceparent, Tracestate",
    ));
    response.insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"));
    Ok(response.finish())
}
