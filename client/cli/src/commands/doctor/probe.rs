//! Reaching for a process: does it answer, is its certificate trusted, what time does it have.

use crate::failure::{Exit, Failure};
use bytes::Bytes;
use cairn_common::limits::CALL_TIMEOUT_MS;
use cairn_common::seam::{BodyStream, CallError, Clock as _, HttpTransport, SystemClock, TlsTrust, Transport as _};
use http::StatusCode;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// Where node ports take the connections of nodes and clients.
const FRAMES: &str = "/v1/frames";

/// What answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// The port by which nodes and the client library reach a master or a chunkserver.
    Node,
    /// The native HTTP API.
    HttpApi,
    /// S3; ours or another's.
    S3,
    /// Something else.
    Other,
}

impl Service {
    /// What an answer to a request for [`FRAMES`] without a key comes from: there a node port wants to speak frames, whatever its
    /// process is, and an API asks for a key in its own form.
    fn of(answer: &http::Response<BodyStream>) -> Service {
        let kind = answer.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind {
            _ if answer.status() == StatusCode::UPGRADE_REQUIRED => Service::Node,
            Some(kind) if kind.starts_with("application/problem+json") => Service::HttpApi,
            Some(kind) if kind.contains("xml") => Service::S3,
            _ => Service::Other,
        }
    }
}

/// A process that answered.
pub(super) struct Reached {
    /// How long the answer took.
    pub(super) took: Duration,
    /// How far its clock is ahead of ours, to a second; `None`: it did not say.
    pub(super) skew_ms: Option<i64>,
    /// Whether it says that it can serve.
    pub(super) ready: bool,
    /// What it is.
    pub(super) service: Service,
}

/// Asks processes how they are, over connections of its own.
pub(super) struct Probe {
    transport: HttpTransport,
    clock: SystemClock,
}

impl Probe {
    /// Trusts the certificates in `ca_file`, or those of the system.
    pub(super) fn new(ca_file: Option<PathBuf>) -> Result<Probe, Failure> {
        let trust = ca_file.map_or(TlsTrust::System, TlsTrust::File);
        let transport = HttpTransport::new(&trust).map_err(|reason| Failure::new(Exit::Usage, reason))?;
        Ok(Probe { transport, clock: SystemClock::new() })
    }

    /// Asks the process at `url` whether it is ready, and finds out what it is.
    pub(super) async fn reach(&self, url: &str) -> Result<Reached, Failure> {
        let begun = self.clock.monotonic();
        let answer = self.ask(url, "/readyz").await?;
        let took = self.clock.monotonic().saturating_sub(begun);
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let skew_ms = date.and_then(|date| skew(date, self.clock.wall_ms()));
        // The S3 API knows no such path, and says so.
        let ready = answer.status() != StatusCode::SERVICE_UNAVAILABLE;
        let service = Service::of(&self.ask(url, FRAMES).await?);
        Ok(Reached { took, skew_ms, ready, service })
    }

    async fn ask(&self, url: &str, path: &str) -> Result<http::Response<BodyStream>, Failure> {
        let request = http::Request::get(path).body(Bytes::new());
        let request = request.map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        tokio::select! {
            biased;
            answer = self.transport.http(url.trim_end_matches('/'), request) => answer.map_err(|error| unreachable(&error)),
            () = self.clock.sleep(Duration::from_millis(CALL_TIMEOUT_MS)) => {
                let failure = Failure::new(Exit::Network, "it takes the connection and does not answer");
                Err(failure.advise("see whether the process hangs, or what listens on that port"))
            }
        }
    }
}

/// How far the moment of a `Date` header is ahead of `now_ms`. The header is cut to seconds: half a second is added.
fn skew(date: &str, now_ms: u64) -> Option<i64> {
    let theirs = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?.as_millis();
    i64::try_from(i128::try_from(theirs).ok()? + 500 - i128::from(now_ms)).ok()
}

fn unreachable(error: &CallError) -> Failure {
    let reason = error.to_string();
    let advice = match () {
        () if reason.contains("NotValidForName") || reason.contains("not valid for") => {
            "its certificate is for other names: write one of those in the address"
        }
        () if reason.contains("Expired") || reason.contains("NotValidYet") || reason.contains("expired") => {
            "its certificate is out of date, or one of both clocks is wrong: compare them"
        }
        () if reason.contains("certificate") || reason.contains("UnknownIssuer") => {
            "trust the cluster's certificates: CAIRN_CA_FILE or --ca-file with a copy of DIR/tls/ca.pem"
        }
        () if reason.contains("InvalidContentType") || reason.contains("corrupt message") => {
            "that port does not speak TLS: write http:// instead of https://"
        }
        () if reason.contains("invalid HTTP version") || reason.contains("parse") => {
            "that port may speak TLS: write https:// instead of http://"
        }
        () if reason.contains("refused") => "nothing listens there: see whether the process runs and the port is right",
        () if reason.contains("dns") || reason.contains("lookup") || reason.contains("resolve") => {
            "the name is not known here: check it, or use an address"
        }
        () => "see whether a firewall is between, and whether the address is one that clients can reach",
    };
    Failure::new(Exit::Network, reason).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_how_far_a_clock_is_off() {
        let now = 1_795_391_999_000;
        assert_eq!(skew("Sun, 22 Nov 2026 23:59:59 GMT", now), Some(500));
        assert_eq!(skew("Sun, 22 Nov 2026 23:59:49 GMT", now), Some(-9_500));
        assert_eq!(skew("yesterday", now), None);
    }

    #[test]
    fn each_service_is_known_by_how_it_answers() {
        let of = |status: u16, kind: Option<&str>| {
            let mut answer = http::Response::builder().status(status);
            if let Some(kind) = kind {
                answer = answer.header("content-type", kind);
            }
            Service::of(&answer.body(futures::StreamExt::boxed(futures::stream::empty())).unwrap())
        };
        assert_eq!(of(426, None), Service::Node);
        assert_eq!(of(401, Some("application/problem+json")), Service::HttpApi);
        assert_eq!(of(400, Some("application/xml")), Service::S3);
        assert_eq!(of(404, Some("text/html")), Service::Other);
        assert_eq!(of(503, None), Service::Other);
    }

    #[test]
    fn what_cannot_be_reached_comes_with_what_to_do() {
        let said = |reason: &str| {
            let error = CallError::Unreachable { address: "https://n".to_owned(), reason: reason.to_owned() };
            unreachable(&error).advice.unwrap_or_default()
        };
        assert!(said("invalid peer certificate: UnknownIssuer").contains("CAIRN_CA_FILE"));
        assert!(said("invalid peer certificate: certificate not valid for name \"n\"").contains("other names"));
        assert!(said("invalid peer certificate: Expired").contains("clocks"));
        assert!(said("invalid HTTP version parsed").contains("https://"));
        assert!(said("Connection refused (os error 111)").contains("nothing listens"));
        assert!(said("failed to lookup address information").contains("not known"));
    }
}
