//! A client that sends bytes as they are and reads what comes back: no library would send what these tests need.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body was as long as was said, or ended as chunked bodies do.
    pub(crate) whole: bool,
}

impl Answer {
    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
    }

    /// A header that may be there.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of an S3 error.
    pub(crate) fn code(&self) -> String {
        let text = self.text();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        code.map(|(code, _)| code.to_owned()).unwrap_or_else(|| panic!("no error: {} {text}", self.status))
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["request_id"], self.header("x-request-id"));
        document["type"].as_str().unwrap().strip_prefix("urn:cairn:problem:").unwrap().to_owned()
    }
}

/// A request that is put together by hand.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as they go out.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body. Its length is stated when the request is sent, unless the headers say otherwise.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// A header that was set.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(&self, to: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let head = self.head(to);
        let send = async {
            // The other side may answer and close before it has everything.
            let _ = writer.write_all(head.as_bytes()).await;
            let _ = writer.write_all(&self.body).await;
        };
        let (answer, ()) = tokio::join!(read_answer(&mut reader, &self.method), send);
        answer
    }

    /// The bytes before the body.
    pub(crate) fn head(&self, to: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if self.find("host").is_none() {
            head.push_str(&format!("host: {to}\r\n"));
        }
        head.push_str("connection: close\r\n");
        let framed = self.find("content-length").is_some() || self.find("transfer-encoding").is_some();
        if !framed && (!self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST")) {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// Reads one answer to its end, and past any `100 Continue`.
pub(crate) async fn read_answer(reader: &mut (impl tokio::io::AsyncRead + Unpin), method: &str) -> Answer {
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes).await;
    let mut rest = bytes.as_slice();
    loop {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {read:?} {}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if status == 100 {
            continue;
        }
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut answer = Answer { status, headers, body: rest.to_vec(), whole: true };
        if method == "HEAD" || matches!(status, 204 | 304) {
            assert!(rest.is_empty(), "a body where there must be none: {}", answer.text());
        } else if answer.find("transfer-encoding") == Some("chunked") {
            (answer.body, answer.whole) = unchunk(rest);
        } else if let Some(length) = answer.find("content-length") {
            answer.whole = length.parse::<usize>().unwrap() == rest.len();
        }
        return answer;
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
