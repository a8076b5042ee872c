//! TLS certificates for nodes, by the cluster's own authority.
//!
//! Any master answers: all derive the same authority from the cluster's key, and nothing is written. A node chooses its names
//! itself, as it does its address; but it does not get a certificate for the host of another node, with which it could stand in
//! for that one to clients.

use crate::server::MasterServer;
use cairn_common::ids::NodeId;
use cairn_common::membership::{Membership, NodeState};
use cairn_common::wire::master::{Caller, MasterError, MasterReply};
use std::net::IpAddr;

impl MasterServer {
    pub(super) fn certificate(
        &self,
        caller: &Caller,
        names: &[String],
        public_key: &[u8],
    ) -> Result<MasterReply, MasterError> {
        let Caller::Node(node) = caller else { return Err(MasterError::Denied) };
        let members = self.members()?;
        if let Some(name) = names.iter().find(|name| is_of_another(&members.membership, *node, name)) {
            return Err(MasterError::BadRequest(format!("{name} is the address of another node")));
        }
        let bad = |error: cairn_common::listen::IssueError| MasterError::BadRequest(error.to_string());
        let authority = self.keyring.authority();
        let certificate =
            authority.issue(names, public_key, self.clock.wall_ms(), self.random.as_ref()).map_err(bad)?;
        tracing::info!(%node, ?names, "a certificate was made");
        Ok(MasterReply::Certificate { authority: authority.certificate_pem().map_err(bad)?, certificate })
    }
}

/// Whether `name` is the host of a node other than `node`, and not of that one as well. Loopback is everyone's.
fn is_of_another(membership: &Membership, node: NodeId, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback || name == "localhost" {
        return false;
    }
    let members = membership.nodes.values().filter(|member| member.state != NodeState::Removed);
    let (own, others): (Vec<_>, Vec<_>) = members
        .filter(|member| host(&member.address).is_some_and(|host| covers(&name, &host)))
        .partition(|member| member.id == node);
    own.is_empty() && !others.is_empty()
}

/// The host of a base URL, in lower case, without the brackets of an IPv6 address.
fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
}

/// Whether a certificate for `name` is one for `host` (RFC 6125, 6.4.3: a wildcard stands for one label).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::{BootCount, ClusterId, Generation};
    use cairn_common::membership::{Node, Roles};
    use std::collections::BTreeMap;

    fn member(id: u32, address: &str) -> (NodeId, Node) {
        let node = Node {
            id: NodeId(id),
            name: format!("n{id}"),
            zone: "z".to_owned(),
            weight: 1,
            address: address.to_owned(),
            roles: Roles::default(),
            state: NodeState::Live,
            boot: BootCount(1),
            served_boot: BootCount(1),
            volumes: BTreeMap::new(),
        };
        (NodeId(id), node)
    }

    #[test]
    fn a_node_gets_no_certificate_for_the_host_of_another() {
        let addresses = ["https://a.example:1", "https://b.example:1", "https://10.0.0.1:1", "https://10.0.0.1:2"];
        let membership = Membership {
            cluster: ClusterId([0; 16]),
            generation: Generation(1),
            revision: 1,
            nodes: (1..).zip(addresses).map(|(id, address)| member(id, address)).collect(),
            rings: Vec::new(),
            replicas: 1,
            replicas_rise: false,
            voters: cairn_common::limits::VOTERS_DEFAULT,
        };
        let refused = |node: u32, name: &str| is_of_another(&membership, NodeId(node), name);
        assert!(
            refused(1, "b.example") && refused(1, "B.Example") && refused(3, "*.example") && refused(1, "10.0.0.1")
        );
        assert!(!refused(1, "a.example") && !refused(1, "s3.company.example") && !refused(2, "*.example"));
        assert!(!refused(3, "10.0.0.1") && !refused(4, "10.0.0.1"), "two nodes on one host");
        assert!(!refused(1, "localhost") && !refused(1, "127.0.0.1") && !refused(1, "::1"));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(covers("*.example.org", "a.example.org") && covers("a.example.org", "a.example.org"));
        assert!(!covers("*.example.org", "a.b.example.org") && !covers("*.example.org", "example.org"));
    }

    #[test]
    fn hosts_are_compared_without_port_brackets_and_case() {
        assert_eq!(host("https://[::1]:7070").as_deref(), Some("::1"));
        assert_eq!(host("https://Node-1.Example:7070").as_deref(), Some("node-1.example"));
        assert_eq!(host(""), None);
    }
}
