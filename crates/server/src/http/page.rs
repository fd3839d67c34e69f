//! What a stranger sees when a request has no ordinary answer. It names no file and no cause;
//! those are in the log.

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{body::Body, error::RequestError};

/// When to come again to a site that has all the requests under way that it may.
const SITE_BUSY_RETRY_SECONDS: u32 = 1;

/// When to come again with content that has to wait for that of others to be gone.
const NO_ROOM_RETRY_SECONDS: u32 = 10;

/// The answer to a request that failed.
#[must_use]
pub fn response(error: &RequestError) -> Response<Body> {
    let status = error.status();
    let mut response = Response::new(Body::full(page(status, sentence(error))));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    match error {
        RequestError::MethodNotAllowed { allow, .. } => {
            fields.insert(ALLOW, HeaderValue::from_static(allow));
        }
        RequestError::RangeNotSatisfiable { length } => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                fields.insert(CONTENT_RANGE, value);
            }
        }
        RequestError::Unauthorized { realm, .. } => {
            let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            if let Ok(value) = HeaderValue::try_from(challenge) {
                fields.insert(WWW_AUTHENTICATE, value);
            }
        }
        RequestError::TooManyRequests { retry_after_seconds } => {
            fields.insert(RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
        }
        RequestError::SiteBusy { .. } => {
            fields.insert(RETRY_AFTER, HeaderValue::from(SITE_BUSY_RETRY_SECONDS));
        }
        RequestError::NoRoom { .. } => {
            fields.insert(RETRY_AFTER, HeaderValue::from(NO_ROOM_RETRY_SECONDS));
        }
        _ => {}
    }
    response
}

/// A whole page. `text` is ours and needs no escaping.
fn page(status: StatusCode, text: &'static str) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{code} {reason}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;\
         padding:0 1em;color:#222}}h1{{font-size:1.4em}}\
         @media(prefers-color-scheme:dark){{body{{background:#181818;color:#ddd}}}}</style>\n\
         <h1>{code} {reason}</h1>\n<p>{text}\n</html>\n"
    )
}

fn sentence(error: &RequestError) -> &'static str {
    match error {
        RequestError::BadRequest { .. } | RequestError::Framing(_) => {
            "The request contradicts itself or the protocol."
        }
        RequestError::TooManyFields => "The request has too many fields.",
        RequestError::NoSite { .. } => "No site answers for this host name here.",
        RequestError::Misdirected { .. } => {
            "This connection was opened for another host name. Please try again."
        }
        RequestError::SiteStopped { .. } => "This site is stopped.",
        RequestError::NotFound { .. } => "There is nothing at this address.",
        RequestError::Forbidden { .. } => "This may not be read.",
        RequestError::Refused { .. } => "This is not given.",
        RequestError::TlsRequired { .. } => "This is given over https only.",
        RequestError::MethodNotAllowed { .. } => "This cannot be done with what is here.",
        RequestError::PreconditionFailed => "It is no longer what the request expected.",
        RequestError::RangeNotSatisfiable { .. } => "It is shorter than the request expected.",
        RequestError::UriTooLong => "The address is too long.",
        RequestError::Unauthorized { .. } => "A name and a password are needed here.",
        RequestError::RequestTimeout => "The request did not come in time.",
        RequestError::ContentTooLarge { .. } => "That is more than is taken here.",
        RequestError::LengthRequired => "The length of the content must be said before it.",
        RequestError::Content(_) => "The content of the request broke off.",
        RequestError::TooManyRequests { .. } => {
            "More was asked for than is answered at a time. Please wait a little."
        }
        RequestError::SiteBusy { .. } => "This site is busy. Please try again.",
        RequestError::BadGateway { .. } | RequestError::NoUpstream { .. } => {
            "The server that should answer did not. It has been logged."
        }
        RequestError::NoRoom { .. } => {
            "Too much is on its way here. Please try again, or say the length of the content."
        }
        RequestError::UpstreamBusy { .. } => "Too much to do. Please try again.",
        RequestError::GatewayTimeout { .. } => {
            "The server that should answer took too long. It has been logged."
        }
        RequestError::File { .. } | RequestError::Panicked => {
            "Something went wrong here. It has been logged."
        }
    }
}
