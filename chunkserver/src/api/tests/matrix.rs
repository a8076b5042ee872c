//! Every call to a chunkserver with every token that is not the one it needs: none does anything (S25 of docs/faults.md).

use super::{Served, exchange};
use crate::testing::{DOMAIN, NODE, NOW_MS, chunk, cluster_key, get_request, put_request, stat_request, token_keys};
use cairn_common::auth::{Mac, ReadToken, TokenKeys, WriteToken};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::error::ErrorKind;
use cairn_common::ids::{BootCount, Domain, Epoch, Generation, KeyId, NodeId, Stamp, VolumeId, WindowId};
use cairn_common::net::RemoteChunkserver;
use cairn_common::wire::chunk::{ChunkError, ChunkService as _, ConfirmChunk, GetChunk, PutChunk, StatChunk};

const STAMP: Stamp = Stamp(9);
const GOOD_UNTIL: u64 = NOW_MS + 60_000;

fn keys_of(key: KeyId, node: NodeId, generation: u32, derived_for: NodeId) -> TokenKeys {
    TokenKeys::new(key, node, &cluster_key().node_key(Generation(generation), derived_for))
}

/// Keys that are not those of this node, as far as a thief can have them.
fn other_keys() -> Vec<(&'static str, TokenKeys)> {
    let other = NodeId(NODE.0 + 1);
    vec![
        ("of another node", keys_of(KeyId(1), other, 1, other)),
        ("of this node, under the key of another", keys_of(KeyId(1), NODE, 1, other)),
        ("of another node, under this node's key", keys_of(KeyId(1), other, 1, NODE)),
        ("of an earlier generation", keys_of(KeyId(1), NODE, 0, NODE)),
        ("of a later generation", keys_of(KeyId(2), NODE, 2, NODE)),
        ("of this node's key under another number", keys_of(KeyId(2), NODE, 1, NODE)),
    ]
}

/// Read tokens that do not open `chunk`; `make` makes the right kind under some keys, for a chunk, with an end.
fn bad_reads(
    chunk: &VerifiedChunk,
    make: impl Fn(&TokenKeys, &VerifiedChunk, u64) -> ReadToken,
) -> Vec<(String, ReadToken)> {
    let good = make(&token_keys(), chunk, GOOD_UNTIL);
    let other_chunk = super::chunk(77, 1_000);
    let other_domain = VerifiedChunk::hash(Domain(DOMAIN.0 + 1), chunk.data().clone(), |_| ());
    let write = token_keys().write_token(DOMAIN, WindowId(7), 64 << 20, GOOD_UNTIL);
    let receipt = token_keys().receipt(&chunk.address(), chunk.length(), VolumeId(1_000), BootCount(1), WindowId(7));
    let with = |mac: Mac| ReadToken { mac, ..good.clone() };
    let mut bad = vec![
        ("nothing".to_owned(), with(Mac([0; 16]))),
        ("for another chunk".to_owned(), make(&token_keys(), &other_chunk, GOOD_UNTIL)),
        ("for the same bytes of another tenant".to_owned(), make(&token_keys(), &other_domain, GOOD_UNTIL)),
        ("an old one".to_owned(), make(&token_keys(), chunk, NOW_MS - 1)),
        ("an old one made longer".to_owned(), ReadToken { expires_ms: GOOD_UNTIL, ..make(&token_keys(), chunk, 5) }),
        ("of another key".to_owned(), ReadToken { key: KeyId(2), ..good.clone() }),
        ("a write token's proof".to_owned(), with(write.mac)),
        ("a receipt's proof".to_owned(), with(receipt.mac)),
    ];
    bad.extend(other_keys().into_iter().map(|(name, keys)| (name.to_owned(), make(&keys, chunk, GOOD_UNTIL))));
    bad.extend(altered(good.mac).map(|(name, mac)| (name, with(mac))));
    bad
}

/// Write tokens that do not allow to write `chunk`.
fn bad_writes(chunk: &VerifiedChunk) -> Vec<(String, WriteToken)> {
    let make =
        |keys: &TokenKeys, domain, until| keys.write_token(domain, WindowId(7), u64::from(chunk.length()), until);
    let good = make(&token_keys(), DOMAIN, GOOD_UNTIL);
    let read = token_keys().read_token(&chunk.address(), GOOD_UNTIL);
    let mut bad = vec![
        ("nothing".to_owned(), WriteToken { mac: Mac([0; 16]), ..good.clone() }),
        ("for another tenant".to_owned(), make(&token_keys(), Domain(DOMAIN.0 + 1), GOOD_UNTIL)),
        ("an old one".to_owned(), make(&token_keys(), DOMAIN, NOW_MS - 1)),
        ("made longer".to_owned(), WriteToken { expires_ms: GOOD_UNTIL + 1, ..good.clone() }),
        ("made larger".to_owned(), WriteToken { limit_bytes: u64::MAX, ..good.clone() }),
        ("of another window".to_owned(), WriteToken { window: WindowId(8), ..good.clone() }),
        ("of another tenant's domain".to_owned(), WriteToken { domain: Domain(DOMAIN.0 + 1), ..good.clone() }),
        ("that finds what it was not to find".to_owned(), WriteToken { finds: true, ..good.clone() }),
        ("of another key".to_owned(), WriteToken { key: KeyId(2), ..good.clone() }),
        ("a read token's proof".to_owned(), WriteToken { mac: read.mac, ..good.clone() }),
    ];
    bad.extend(other_keys().into_iter().map(|(name, keys)| (name.to_owned(), make(&keys, DOMAIN, GOOD_UNTIL))));
    bad.extend(altered(good.mac).map(|(name, mac)| (name, WriteToken { mac, ..good.clone() })));
    bad
}

/// A proof with one bit flipped, for every byte of it.
fn altered(mac: Mac) -> impl Iterator<Item = (String, Mac)> {
    (0..16).map(move |byte| {
        let mut bytes = mac.0;
        bytes[byte] ^= 1 << (byte % 8);
        (format!("with a bit of byte {byte} flipped"), Mac(bytes))
    })
}

/// Counts refusals; anything else fails the test.
struct Refused(u32);

impl Refused {
    fn check<T: std::fmt::Debug>(&mut self, call: &str, with: &str, answer: Result<T, ChunkError>) {
        assert!(matches!(&answer, Err(error) if error.kind() == ErrorKind::Denied), "{call} {with}: {answer:?}");
        self.0 += 1;
    }
}

fn confirm_token(keys: &TokenKeys, chunk: &VerifiedChunk, until: u64) -> ReadToken {
    keys.confirm_token(&chunk.address(), STAMP, until)
}

fn read_token(keys: &TokenKeys, chunk: &VerifiedChunk, until: u64) -> ReadToken {
    keys.read_token(&chunk.address(), until)
}

async fn ask_everything(client: &RemoteChunkserver, chunk: &VerifiedChunk, refused: &mut Refused) {
    let address = chunk.address();
    for (name, token) in bad_writes(chunk) {
        let request = PutChunk { address, token, epoch: Epoch(1) };
        refused.check("put", &name, client.put(request.clone(), chunk.clone()).await);
        refused.check("touch", &name, client.touch(request).await);
    }
    let mut reads = bad_reads(chunk, read_token);
    reads.push(("the right to confirm".to_owned(), confirm_token(&token_keys(), chunk, GOOD_UNTIL)));
    for (name, token) in reads {
        let get = GetChunk { address, token: token.clone(), start: 0, end: chunk.length() };
        refused.check("get", &name, client.get(get).await);
        let question = StatChunk { address, token };
        refused.check("stat", &name, client.stat(question.clone()).await);
        refused.check("report bad", &name, client.report_bad(question).await);
    }
    let mut confirms = bad_reads(chunk, confirm_token);
    confirms.push(("the right to read".to_owned(), read_token(&token_keys(), chunk, GOOD_UNTIL)));
    let later = token_keys().confirm_token(&address, Stamp(STAMP.0 + 1), GOOD_UNTIL);
    confirms.push(("for another moment".to_owned(), later));
    for (name, token) in confirms {
        let request = ConfirmChunk { address, token, epoch: Epoch(1), stamp: STAMP };
        refused.check("confirm", &name, client.confirm(request).await);
    }
}

#[tokio::test]
async fn no_call_does_anything_without_its_own_token() {
    let served = Served::start().await;
    let (there, absent) = (chunk(1, 1_000), chunk(2, 1_000));
    served.stranger().put(put_request(&there, 7), there.clone()).await.unwrap();
    let before = served.server.service().stat(stat_request(&there)).await;
    let mut refused = Refused(0);
    // Being a node of the cluster is no right to a chunk, either.
    for client in [served.stranger(), served.master()] {
        for chunk in [&there, &absent] {
            ask_everything(&client, chunk, &mut refused).await;
        }
    }
    for slot in [there.address().slot(), absent.address().slot()] {
        refused.check("digests", "of a stranger", served.stranger().digests(slot, 1).await);
        refused.check("inventory", "of a stranger", served.stranger().inventory(slot, None).await);
    }
    assert!(refused.0 >= 700, "{} calls", refused.0);
    assert_eq!(served.server.service().stat(stat_request(&there)).await, before);
    assert_eq!(served.stranger().get(get_request(&absent)).await, Err(ChunkError::Absent));

    // With its own token each of them does something: the matrix refuses not just everything.
    let client = served.stranger();
    client.touch(put_request(&there, 7)).await.unwrap();
    client.report_bad(stat_request(&there)).await.unwrap();
    let token = confirm_token(&token_keys(), &there, GOOD_UNTIL);
    let request = ConfirmChunk { address: there.address(), token, epoch: Epoch(1), stamp: STAMP };
    let confirmed = client.confirm(request).await;
    assert!(!matches!(&confirmed, Err(error) if error.kind() == ErrorKind::Denied), "{confirmed:?}");
    assert_eq!(served.master().inventory(there.address().slot(), None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_done_by_requests_without_a_token_or_by_methods_that_there_are_not() {
    let served = Served::start().await;
    let chunk = chunk(1, 1_000);
    served.stranger().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    let address = chunk.address();
    for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "COPY"] {
        for path in
            [format!("/v1/chunks/{address}"), format!("/v1/chunks/{address}?start=0&end=9"), "/v1/chunks".into()]
        {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let answer = exchange(&served, request.as_bytes()).await;
            let status = std::str::from_utf8(&answer[9..12]).unwrap().to_owned();
            assert!(["400", "403", "404", "405"].contains(&status.as_str()), "{method} {path}: {status}");
        }
    }
    assert!(served.stranger().get(get_request(&chunk)).await.is_ok());
}
