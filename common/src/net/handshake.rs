//! Who is on the other end of a connection.
//!
//! The server speaks first: who it is and a challenge. The client answers with its identity and a MAC over both sides' random
//! numbers, under a secret that both know: an access key's, a node's (which masters can derive), or a join token's. The server
//! proves itself in the same way. Nothing secret is sent, nothing can be replayed, and two clusters never talk by mistake.
//! Anonymous clients prove nothing and may do what tokens alone allow.

use crate::auth::{Mac, MacInput, Secret};
use crate::ids::{ClusterId, Generation, NodeId};
use crate::seam::{BoxedIo, Random};
use crate::wire::frame::{Frame, FrameError, Kind, Service};
use crate::wire::master::Caller;
use crate::wire::{self, DecodeError};
use async_trait::async_trait;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Nobody.
    Anonymous,
    /// The holder of an access key.
    Key(String),
    /// A node of the cluster, under its own handshake key.
    Node(NodeId),
    /// A master, under the handshake key of the node it calls.
    Master,
    /// A process with a join token, by the token's id.
    Joiner(String),
}

impl Identity {
    /// The secret that the holder of an access key proves itself with.
    pub fn key_secret(secret: &str) -> Secret {
        Secret::new(blake3::derive_key("cairn 2026 access key handshake", secret.as_bytes()))
    }
}

/// An identity and its secret.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who.
    pub identity: Identity,
    /// The shared secret; ignored for `Anonymous`.
    pub secret: Secret,
}

impl Credential {
    /// Nobody's.
    pub fn anonymous() -> Credential {
        Credential { identity: Identity::Anonymous, secret: Secret::new([0; 32]) }
    }
}

/// First words of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The generation of it.
    pub generation: Generation,
    challenge: [u8; 16],
}

#[derive(Debug, Serialize, Deserialize)]
struct Auth {
    identity: Identity,
    nonce: [u8; 16],
    mac: Mac,
}

#[derive(Debug, Serialize, Deserialize)]
enum Welcome {
    Accepted(Mac),
    Refused,
    NotNow,
}

/// Why two parties do not talk.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// Not our protocol, or not our release.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not our protocol, or not our release.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A frame out of order.
    #[error("the other side does not follow the protocol")]
    Protocol,
    /// Another cluster.
    #[error("it belongs to cluster {found}, not to {expected}")]
    OtherCluster {
        /// Ours.
        expected: ClusterId,
        /// Theirs.
        found: ClusterId,
    },
    /// The server does not accept our identity.
    #[error("it does not accept the access key, node key or join token")]
    Refused,
    /// The server cannot tell now whether it accepts our identity; another one may.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// The server does not know the secret it should.
    #[error("it could not prove that it belongs to the cluster")]
    Impostor,
}

/// Who connects cannot be checked now. That is no refusal: the caller should ask elsewhere, or again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it cannot check now who asks")]
pub struct NotNow;

/// The secret of an identity and whom it stands for; `None`: unknown.
pub type Vouched = Result<Option<(Secret, Caller)>, NotNow>;

/// Knows the secrets of those who may connect.
#[async_trait]
pub trait Verifier: Send + Sync {
    /// Who `identity` is.
    async fn secret_of(&self, identity: &Identity) -> Vouched;

    /// Who this side is.
    fn server(&self) -> (ClusterId, Generation);
}

/// A connection during and after its handshake.
pub struct Handshaken {
    /// The stream.
    pub io: BoxedIo,
    /// Bytes that were read but belong to later frames.
    pub buffered: BytesMut,
}

/// The client's side. `expected`: the cluster it wants to talk to; `None`: whichever is there.
pub async fn connect(
    mut io: BoxedIo,
    random: &dyn Random,
    credential: &Credential,
    expected: Option<ClusterId>,
) -> Result<(Handshaken, Hello), HandshakeError> {
    let mut buffered = BytesMut::new();
    let hello: Hello = read(&mut io, &mut buffered, Kind::Hello).await?;
    if let Some(expected) = expected.filter(|expected| *expected != hello.cluster) {
        return Err(HandshakeError::OtherCluster { expected, found: hello.cluster });
    }
    let mut nonce = [0; 16];
    random.fill(&mut nonce);
    let mac = credential.secret.mac(&proof("client", &hello, &nonce, &credential.identity));
    write(&mut io, Kind::Auth, &Auth { identity: credential.identity.clone(), nonce, mac }).await?;
    match read(&mut io, &mut buffered, Kind::Welcome).await? {
        Welcome::Refused => Err(HandshakeError::Refused),
        Welcome::NotNow => Err(NotNow.into()),
        Welcome::Accepted(mac) => {
            let genuine = mac == credential.secret.mac(&proof("server", &hello, &nonce, &credential.identity));
            if genuine || credential.identity == Identity::Anonymous {
                Ok((Handshaken { io, buffered }, hello))
            } else {
                Err(HandshakeError::Impostor)
            }
        }
    }
}

/// The server's side.
pub async fn accept(
    mut io: BoxedIo,
    random: &dyn Random,
    verifier: &dyn Verifier,
) -> Result<(Handshaken, Caller), HandshakeError> {
    let (cluster, generation) = verifier.server();
    let mut challenge = [0; 16];
    random.fill(&mut challenge);
    let hello = Hello { cluster, generation, challenge };
    write(&mut io, Kind::Hello, &hello).await?;
    let mut buffered = BytesMut::new();
    let auth: Auth = read(&mut io, &mut buffered, Kind::Auth).await?;
    let anonymous = auth.identity == Identity::Anonymous;
    let known = if anonymous {
        Some((Secret::new([0; 32]), Caller::Anonymous))
    } else {
        match verifier.secret_of(&auth.identity).await {
            Ok(known) => known,
            Err(not_now) => {
                write(&mut io, Kind::Welcome, &Welcome::NotNow).await?;
                return Err(not_now.into());
            }
        }
    };
    // An unknown identity costs the same work as a wrong secret.
    let (secret, caller) =
        known.map_or_else(|| (Secret::random(random), None), |(secret, caller)| (secret, Some(caller)));
    let genuine = auth.mac == secret.mac(&proof("client", &hello, &auth.nonce, &auth.identity));
    match caller.filter(|_| genuine || anonymous) {
        Some(caller) => {
            let mac = secret.mac(&proof("server", &hello, &auth.nonce, &auth.identity));
            write(&mut io, Kind::Welcome, &Welcome::Accepted(mac)).await?;
            Ok((Handshaken { io, buffered }, caller))
        }
        None => {
            write(&mut io, Kind::Welcome, &Welcome::Refused).await?;
            Err(HandshakeError::Refused)
        }
    }
}

fn proof(side: &'static str, hello: &Hello, nonce: &[u8; 16], identity: &Identity) -> MacInput {
    MacInput::new("cairn handshake")
        .field(side.as_bytes())
        .field(&hello.cluster.0)
        .number(u64::from(hello.generation.0))
        .field(&hello.challenge)
        .field(nonce)
        .field(&wire::encode(identity))
}

async fn write<T: Serialize>(io: &mut BoxedIo, kind: Kind, message: &T) -> Result<(), HandshakeError> {
    let mut out = BytesMut::new();
    Frame { kind, service: Service::Connection, call: 0, body: wire::encode(message).into() }.encode(&mut out);
    io.write_all(&out).await?;
    Ok(io.flush().await?)
}

/// Longest frame of a handshake: strangers may not make us buffer more.
const HANDSHAKE_FRAME_MAX: usize = 4096;

async fn read<T: serde::de::DeserializeOwned>(
    io: &mut BoxedIo,
    buffered: &mut BytesMut,
    kind: Kind,
) -> Result<T, HandshakeError> {
    loop {
        if let Some(frame) = Frame::decode(buffered)? {
            if frame.kind != kind {
                return Err(HandshakeError::Protocol);
            }
            return Ok(wire::decode(&frame.body)?);
        }
        if buffered.len() > HANDSHAKE_FRAME_MAX {
            return Err(HandshakeError::Protocol);
        }
        if io.read_buf(buffered).await? == 0 {
            return Err(HandshakeError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    struct OneKey;

    #[async_trait]
    impl Verifier for OneKey {
        async fn secret_of(&self, identity: &Identity) -> Vouched {
            if *identity == Identity::Key("later".to_owned()) {
                return Err(NotNow);
            }
            let known = *identity == Identity::Key("AK".to_owned());
            Ok(known.then(|| (Identity::key_secret("secret"), Caller::Key("AK".to_owned()))))
        }
        fn server(&self) -> (ClusterId, Generation) {
            (CLUSTER, Generation(1))
        }
    }

    async fn meet(
        credential: Credential,
        expected: Option<ClusterId>,
    ) -> (Result<(), HandshakeError>, Result<Caller, HandshakeError>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = async { accept(Box::new(theirs), &OsRandom, &OneKey).await.map(|(_, caller)| caller) };
        let client = async { connect(Box::new(ours), &OsRandom, &credential, expected).await.map(|_| ()) };
        tokio::join!(client, server)
    }

    fn key(access: &str, secret: &str) -> Credential {
        Credential { identity: Identity::Key(access.to_owned()), secret: Identity::key_secret(secret) }
    }

    #[tokio::test]
    async fn only_the_holder_of_the_secret_is_let_in() {
        let (client, server) = meet(key("AK", "secret"), Some(CLUSTER)).await;
        assert!(client.is_ok());
        assert_eq!(server.unwrap(), Caller::Key("AK".to_owned()));
        for bad in [key("AK", "Secret"), key("AX", "secret"), key("AK", "")] {
            let (client, server) = meet(bad, None).await;
            assert!(matches!(client, Err(HandshakeError::Refused)));
            assert!(server.is_err());
        }
        let (client, server) = meet(Credential::anonymous(), None).await;
        assert!(client.is_ok());
        assert_eq!(server.unwrap(), Caller::Anonymous);
    }

    #[tokio::test]
    async fn not_to_know_now_is_no_refusal() {
        let (client, server) = meet(key("later", "secret"), None).await;
        assert!(matches!(client, Err(HandshakeError::NotNow(_))));
        assert!(matches!(server, Err(HandshakeError::NotNow(_))));
    }

    #[tokio::test]
    async fn two_clusters_never_talk() {
        let (client, _) = meet(key("AK", "secret"), Some(ClusterId([2; 16]))).await;
        assert!(matches!(client, Err(HandshakeError::OtherCluster { .. })));
    }

    #[tokio::test]
    async fn an_impostor_is_noticed() {
        struct LetsAnyoneIn;
        #[async_trait]
        impl Verifier for LetsAnyoneIn {
            async fn secret_of(&self, _: &Identity) -> Vouched {
                Ok(None)
            }
            fn server(&self) -> (ClusterId, Generation) {
                (CLUSTER, Generation(1))
            }
        }
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let impostor = async move {
            let mut io: BoxedIo = Box::new(theirs);
            let (cluster, generation) = LetsAnyoneIn.server();
            write(&mut io, Kind::Hello, &Hello { cluster, generation, challenge: [0; 16] }).await.unwrap();
            let _: Auth = read(&mut io, &mut BytesMut::new(), Kind::Auth).await.unwrap();
            write(&mut io, Kind::Welcome, &Welcome::Accepted(Mac([0; 16]))).await.unwrap();
            io
        };
        let credential = key("AK", "secret");
        let client = connect(Box::new(ours), &OsRandom, &credential, None);
        let (client, _io) = tokio::join!(client, impostor);
        assert!(matches!(client, Err(HandshakeError::Impostor)));
    }
}
