//! Links: an address that lets whoever has it read or store one file, until a time.
//!
//! A link carries the access key, its end, for storing the largest length, and a MAC under a key that is derived from the secret.
//! It allows one method on one file and nothing else: no other parameter, no `X-Meta-` header, no other operation. It allows no
//! more than its access key does when it is used, so removing the key or its grant ends all of its links. Unlike S3's presigned
//! URLs it covers no headers: type, encoding and caching of what is stored are as its sender says.

use super::Call;
use super::json;
use super::problem::{Outcome, bad_request, unauthorized};
use super::target::{self, Query, Target, location};
use crate::credentials::CredentialError;
use crate::front::Front;
use crate::limits::PRESIGN_MAX_S;
use crate::upload::IncomingBody;
use axum::response::Response;
use cairn_common::ids::Stamp;
use cairn_common::name::FilePath;
use cairn_common::wire::master::Credential;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const KEY: &str = "x-key";
const EXPIRES: &str = "x-expires";
const MOST: &str = "x-max-bytes";
const SIGNATURE: &str = "x-signature";

/// What a link allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Allows {
    /// To read the file.
    Get,
    /// To store it.
    Put,
}

/// A link, as a request has it; whether it is good is found out by [`Link::check`].
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) access: String,
    allows: Allows,
    file: FilePath,
    /// Seconds since 1970.
    expires: u64,
    /// Of what may be stored, in bytes.
    most: Option<u64>,
    mac: Vec<u8>,
}

impl Link {
    /// The link of a request, if its address is one.
    pub(crate) fn of(parts: &Parts) -> Outcome<Option<Link>> {
        // Asking first: whoever comes without a link learns nothing about what an address may look like.
        let mut names = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
        if !names.any(|name| name == SIGNATURE) {
            return Ok(None);
        }
        let malformed = || unauthorized("The link is not as it was made.");
        let (target, mut query) = target::read(&parts.uri).map_err(|_| malformed())?;
        let (Target::File(file), Some(mac)) = (target, query.take(SIGNATURE)) else { return Err(malformed()) };
        let allows = match parts.method {
            Method::GET | Method::HEAD => Allows::Get,
            Method::PUT => Allows::Put,
            _ => return Err(malformed()),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let most = query.take(MOST).map(|text| digits(&text).ok_or_else(malformed)).transpose()?;
        let expires = query.take(EXPIRES).and_then(|text| digits(&text)).ok_or_else(malformed)?;
        let access = query.take(KEY).ok_or_else(malformed)?;
        query.only(&[]).map_err(|_| malformed())?;
        let mac = hex::decode(mac).map_err(|_| malformed())?;
        Ok(Some(Link { access, allows, file, expires, most, mac }))
    }

    /// The credential behind the link, if it made it and its time is not over. The MAC is compared in constant time.
    pub(crate) async fn check(&self, front: &Front) -> Outcome<Arc<Credential>> {
        let wrong = || unauthorized("The link is not as it was made, its key is gone, or its time is over.");
        let credential = match front.credentials.find(&self.access).await {
            Ok(credential) => credential,
            Err(CredentialError::Unknown | CredentialError::WrongSecret) => return Err(wrong()),
            Err(problem) => return Err(problem.into()),
        };
        let right = hmac::verify(&key_of(&credential.secret), &self.text(), &self.mac).is_ok();
        if right && self.expires > front.clock.wall_ms() / 1000 { Ok(credential) } else { Err(wrong()) }
    }

    /// Takes what belongs to the link out of the query. Answers how long a body may be. Nobody stores `X-Meta-` by a
    /// link.
    pub(crate) fn apply(&self, query: &mut Query, headers: &HeaderMap) -> Outcome<Option<u64>> {
        for name in [KEY, EXPIRES, MOST, SIGNATURE] {
            query.take(name);
        }
        if headers.keys().any(|name| name.as_str().starts_with("x-meta-")) {
            return Err(bad_request("By a link no metadata is stored: leave the X-Meta- headers away."));
        }
        Ok(self.most)
    }

    /// What the MAC covers: every field, so that no two links have the same text.
    fn text(&self) -> Vec<u8> {
        let allows = match self.allows {
            Allows::Get => "GET",
            Allows::Put => "PUT",
        };
        let most = self.most.map_or_else(|| "-".to_owned(), |most| most.to_string());
        let Link { access, file, expires, .. } = self;
        // Only the key may have line ends in it, and it comes last.
        format!("cairn link 1\n{allows}\n{access}\n{expires}\n{most}\n{}\n{}", file.bucket, file.key.as_str())
            .into_bytes()
    }

    fn address(&self) -> String {
        let file = location(&self.file);
        let mark = if file.contains('?') { '&' } else { '?' };
        let most = self.most.map_or_else(String::new, |most| format!("&{MOST}={most}"));
        let (access, mac) = (target::encode(&self.access), hex::encode(&self.mac));
        format!("{file}{mark}{KEY}={access}&{EXPIRES}={}{most}&{SIGNATURE}={mac}", self.expires)
    }
}

/// The key of links, which is good for nothing else.
fn key_of(secret: &str) -> hmac::Key {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, b"cairn link 1").as_ref())
}

/// A link that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    method: Allows,
    /// `BUCKET/KEY`, literally.
    file: String,
    /// How long it is good, in seconds.
    #[serde(default = "an_hour")]
    expires_s: u64,
    /// Of what may be stored.
    max_bytes: Option<u64>,
}

fn an_hour() -> u64 {
    3600
}

#[derive(Debug, Serialize)]
struct Made {
    method: Allows,
    /// To be put behind the address of any gateway.
    path: String,
    expires: String,
}

/// Makes a link. It is not asked whether the key may do what it is to be for: that is asked whenever it is used.
pub(crate) async fn presign(call: Call, body: IncomingBody) -> Outcome<Response> {
    let missing = || bad_request("The body must be JSON: {\"method\": \"GET\", \"file\": \"BUCKET/KEY\"}.");
    let order: Order = json::read(body).await?.ok_or_else(missing)?;
    let (bucket, key) = order.file.split_once('/').ok_or_else(|| bad_request("file is not BUCKET/KEY."))?;
    let file = FilePath::new(bucket, key)?;
    if !(1..=u64::from(PRESIGN_MAX_S)).contains(&order.expires_s) {
        return Err(bad_request(format!("A link is good for 1 to {PRESIGN_MAX_S} seconds (a week).")));
    }
    if order.max_bytes.is_some() && order.method == Allows::Get {
        return Err(bad_request("max_bytes is for what is stored; leave it away with GET."));
    }
    let expires = call.front.clock.wall_ms() / 1000 + order.expires_s;
    let Credential { key, secret } = &*call.identity.credential;
    let (access, allows, most) = (key.access.clone(), order.method, order.max_bytes);
    let link = Link { access, allows, file, expires, most, mac: Vec::new() };
    let mac = hmac::sign(&key_of(secret), &link.text()).as_ref().to_vec();
    let path = Link { mac, ..link }.address();
    let made = Made { method: order.method, path, expires: json::time(Stamp::from_ms(expires * 1000)) };
    Ok(json::answer(StatusCode::CREATED, &made))
}

/// Parses a document as a request's.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_order(data: &[u8]) -> bool {
    serde_json::from_slice::<Order>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(key: &str) -> Link {
        Link {
            access: "AK".to_owned(),
            allows: Allows::Get,
            file: FilePath::new("one", key).unwrap(),
            expires: 1_795_000_000,
            most: Some(7),
            mac: vec![1; 32],
        }
    }

    fn read(method: &str, address: &str) -> Outcome<Option<Link>> {
        let request = http::Request::builder().method(method).uri(address).body(()).unwrap();
        Link::of(&request.into_parts().0)
    }

    #[test]
    fn every_field_is_under_the_mac() {
        let text = link("a").text();
        for other in [
            Link { access: "AL".to_owned(), ..link("a") },
            Link { allows: Allows::Put, ..link("a") },
            Link { expires: 1_795_000_001, ..link("a") },
            Link { most: Some(8), ..link("a") },
            Link { most: None, ..link("a") },
            link("b"),
        ] {
            assert_ne!(other.text(), text, "{other:?}");
        }
    }

    #[test]
    fn an_address_that_says_more_or_less_is_no_link() {
        let address = link("a").address();
        assert!(read("GET", &address).unwrap().is_some() && read("HEAD", &address).unwrap().is_some());
        assert!(read("GET", "/v1/objects/one/a").unwrap().is_none());
        assert!(read("GET", "/v1/objects/one?list&prefix=x-signature").unwrap().is_none());
        for bad in [
            format!("{address}&where"),
            format!("{address}&x-expires=9"),
            address.replace("x-key=AK&", ""),
            address.replace("x-expires=1795000000&", ""),
            address.replace("x-expires=1", "x-expires=%2B1"),
            address.replace("x-signature=01", "x-signature=zz"),
            address.replace("/v1/objects/", "/v1/uploads/"),
            address.replace("/a?", "?"),
        ] {
            assert!(read("GET", &bad).is_err(), "{bad}");
        }
        assert!(read("DELETE", &address).is_err() && read("POST", &address).is_err());
    }

    proptest! {
        #[test]
        fn what_was_made_is_read_again(key in "\\PC{1,30}|[./]{1,9}|[%+&=?#a]{1,9}") {
            let made = link(&key);
            let found = read("GET", &made.address()).unwrap().unwrap();
            prop_assert_eq!((found.text(), found.mac), (made.text(), made.mac));
        }
    }
}
