//! The HTTP client of the sinks that speak it.

use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::time::timeout;

use crate::config::{FieldError, Span, TlsConfig, patience};
use crate::runner::Failure;
use crate::secret::SecretFile;
use crate::tls;

/// So much of an answer is read; what a receiver says beyond is not needed.
const ANSWER: usize = 64 << 10;

/// So much of an answer that is an error is told.
const TOLD: usize = 200;

/// Where and how an HTTP sink posts.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Absolute URL, `http` or `https`, without user and password.
    pub url: Uri,
    /// Headers that are no secret.
    pub headers: HeaderMap,
    /// The header that is one.
    pub auth: Option<AuthConfig>,
    /// The TLS for `https`.
    pub tls: TlsConfig,
    /// How long a request may take, from connecting to the answer's end.
    pub timeout: Duration,
}

/// A header with a secret: `{ token_file, header, prefix }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// The file of the token, read for every request, so that it can be replaced. Space around it is ignored.
    pub token_file: SecretFile,
    /// The header's name: `authorization` if absent.
    #[serde(default = "authorization")]
    pub header: String,
    /// What stands before the token: `Bearer ` if absent.
    #[serde(default = "bearer")]
    pub prefix: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

/// The fields of an endpoint as a configuration has them.
#[derive(Debug)]
pub(crate) struct EndpointFields {
    pub url: String,
    pub headers: std::collections::BTreeMap<String, String>,
    pub auth: Option<AuthConfig>,
    pub tls: TlsConfig,
    pub timeout: Option<Span>,
}

impl TryFrom<EndpointFields> for Endpoint {
    type Error = FieldError;

    fn try_from(fields: EndpointFields) -> Result<Self, FieldError> {
        let url: Uri = (fields.url.parse()).map_err(|error| FieldError::new("url", error))?;
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FieldError::new("url", "is no http or https URL")),
        };
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(FieldError::new(
                "url",
                "has a user or password in it; use auth.token_file",
            ));
        }
        if let Some(auth) = &fields.auth {
            HeaderName::try_from(&auth.header)
                .map_err(|error| FieldError::new("auth.header", error))?;
            if !secure && !is_loopback(url.host().unwrap_or_default()) {
                return Err(FieldError::new("auth", "a token goes over https only"));
            }
        }
        if !secure && fields.tls != TlsConfig::default() {
            return Err(FieldError::new("tls", "the url is not https"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &fields.headers {
            let name = HeaderName::try_from(name);
            let name = name.map_err(|error| FieldError::new("headers", error))?;
            if matches!(
                name.as_str(),
                "authorization" | "proxy-authorization" | "cookie"
            ) {
                return Err(FieldError::new(
                    "headers",
                    format_args!("{name} is a secret; use auth.token_file"),
                ));
            }
            let value = HeaderValue::try_from(value);
            headers.append(
                name,
                value.map_err(|error| FieldError::new("headers", error))?,
            );
        }
        let timeout = patience(fields.timeout, Duration::from_secs(30))?;
        Ok(Self {
            url,
            headers,
            auth: fields.auth,
            tls: fields.tls,
            timeout,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Posts to one endpoint over connections that it keeps.
pub(crate) struct Poster {
    endpoint: Endpoint,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Poster {
    /// Reads the files of the TLS.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, tls::TlsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(endpoint.timeout));
        let https = if endpoint.url.scheme_str() == Some("https") {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls::client(&endpoint.tls)?)
                .https_only()
                .enable_all_versions()
                .wrap_connector(tcp)
        } else {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls::none())
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp)
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build(https);
        Ok(Self {
            endpoint: endpoint.clone(),
            client,
        })
    }

    /// Posts `body`, which carries `records` records. Returns the answer's body, as far as it is read.
    pub(crate) async fn post(
        &mut self,
        content_type: &'static str,
        body: Vec<u8>,
        records: usize,
    ) -> Result<Bytes, Failure> {
        let answer = match timeout(self.endpoint.timeout, self.exchange(content_type, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {:?}", self.endpoint.timeout).into()),
        };
        let (status, headers, text) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // The next attempt connects anew, with the certificates as they are then.
                if let Ok(renewed) = Self::new(&self.endpoint) {
                    *self = renewed;
                }
                return Err(Failure::retry(error));
            }
        };
        if status.is_success() {
            return Ok(text);
        }
        let cause = format!("{status}: {}", printable(&text));
        Err(match status {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Failure::refused(records, cause),
            _ => Failure::retry_after(retry_after(&headers, SystemTime::now()), cause),
        })
    }

    async fn exchange(
        &self,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Box<dyn Error + Send + Sync>> {
        let mut request = Request::post(self.endpoint.url.clone()).body(Full::from(body))?;
        let headers = request.headers_mut();
        headers.clone_from(&self.endpoint.headers);
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        );
        headers
            .entry(http::header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "hoop/",
                env!("CARGO_PKG_VERSION")
            )));
        if let Some(auth) = &self.endpoint.auth {
            let token = auth.token_file.read().await?;
            let mut value = HeaderValue::try_from(format!("{}{}", auth.prefix, &*token))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(&auth.header)?, value);
        }
        let (head, body) = self.client.request(request).await?.into_parts();
        let text = match Limited::new(body, ANSWER).collect().await {
            Ok(text) => text.to_bytes(),
            // Longer than anyone reads, or cut off: the status stands.
            Err(_) => Bytes::new(),
        };
        Ok((head.status, head.headers, text))
    }
}

/// `Retry-After` of RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The beginning of what a far side said, without anything that would end a line of a log.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(TOLD)]);
    text.escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 10:00:00 GMT")
            .unwrap_or(SystemTime::UNIX_EPOCH);
        for (value, seconds) in [
            ("7", Some(7)),
            ("Wed, 25 Nov 2026 10:00:30 GMT", Some(30)),
            ("Wed, 25 Nov 2026 09:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(
                retry_after(&headers, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
