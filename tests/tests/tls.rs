//! Clusters whose ports speak TLS, by an authority of their own.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_client::{Client, ClientConfig, ConnectError};
use cairn_common::seam::TlsTrust;
use cairn_common::wire::master::MasterError;
use cairn_tests::cluster::{Cluster, Plan, Shape};
use cairn_tests::content::Body;
use cairn_tests::suites::block_on;

fn start() -> Cluster {
    let shape = Shape::Split { masters: 1, chunkservers: 2, gateways: 1 };
    Cluster::start(Plan { replicas: Some(2), tls: true, ..Plan::new(shape) }).unwrap()
}

fn node_url(cluster: &Cluster, name: &str) -> String {
    let process = cluster.processes().unwrap().into_iter().find(|process| process.name == name).unwrap();
    process.addresses["node"].clone()
}

async fn connect(cluster: &Cluster, trust: TlsTrust) -> Result<Client, ConnectError> {
    let mut config = ClientConfig::new([node_url(cluster, "master-1")]);
    config.access_key = Some(cluster.key.clone());
    config.tls = trust;
    Client::connect(config).await
}

#[test]
fn nodes_and_clients_speak_tls_and_nodes_that_start_again_or_join_later_do_as_well() {
    let cluster = start();
    let (file, body) = (cluster.folder().join("f"), Body { seed: 1, length: 3 << 20 }.bytes());
    std::fs::write(&file, &body).unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["put", file.to_str().unwrap(), "cairn://abc/f"]).unwrap();
    assert_eq!(cluster.fetch_from("abc", "f").unwrap(), body);
    for name in ["master-1", "chunkserver-1", "chunkserver-2"] {
        assert!(node_url(&cluster, name).starts_with("https://"), "{name}");
        let same =
            std::fs::read(cluster.authority(name)).unwrap() == std::fs::read(cluster.authority("master-1")).unwrap();
        assert!(same, "{name} trusts another authority");
    }
    let certificate = cluster.folder().join("chunkserver-1/tls/node.json");
    let before = std::fs::read(&certificate).unwrap();
    for name in ["chunkserver-1", "master-1"] {
        cluster.kill(name, "KILL").unwrap();
        cluster.start_process(name).unwrap();
    }
    assert_eq!(std::fs::read(&certificate).unwrap(), before, "a restart asked for a new certificate");
    assert!(cluster.s3.starts_with("https://") && cluster.api.starts_with("https://"));
    let added = cluster.add("chunkserver", &[]).unwrap();
    assert!(node_url(&cluster, &added).starts_with("https://"));
    assert_eq!(cluster.fetch_from("abc", "f").unwrap(), body);
    cluster.wipe().unwrap();
}

#[test]
fn who_does_not_trust_the_authority_does_not_connect() {
    let (cluster, other) = (start(), start());
    block_on(async {
        let trusted = connect(&cluster, TlsTrust::File(cluster.authority("master-1"))).await?;
        trusted.close().await;
        for (trust, whose) in
            [(TlsTrust::System, "the system's"), (TlsTrust::File(other.authority("master-1")), "another cluster's")]
        {
            let refused = connect(&cluster, trust).await.err();
            let unavailable = matches!(refused, Some(ConnectError::Master(MasterError::Unavailable(_))));
            assert!(unavailable, "trusting {whose}: {refused:?}");
        }
        Ok(())
    })
    .unwrap();
    cluster.wipe().unwrap();
    other.wipe().unwrap();
}
