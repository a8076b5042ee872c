//! Puts a file into a bucket and gets it back, telling how far it is.
//!
//! ```text
//! export CAIRN_MASTERS=http://127.0.0.1:7070 CAIRN_ACCESS_KEY=… CAIRN_SECRET_KEY=…
//! cargo run --release -p cairn-client --example put_and_get -- summit.jpg photos 2026/summit.jpg copy.jpg
//! ```
//!
//! The bucket is made if it is not there. `CAIRN_CA_FILE` names the certificates to trust, for a cluster with TLS.

use cairn_client::common::name::{BucketName, FilePath};
use cairn_client::common::seam::TlsTrust;
use cairn_client::{Client, ClientConfig, GetOptions, Progress, PutOptions};
use futures::TryStreamExt as _;
use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

/// Prints how many bytes of so many are durable.
struct Printed {
    done: AtomicU64,
    of: u64,
}

impl Progress for Printed {
    fn advanced(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        eprintln!("put: {done} of {} bytes are durable", self.of);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, bucket, key, copy] = &arguments[..] else {
        return Err("usage: put_and_get FILE BUCKET KEY COPY".into());
    };

    let mut config = ClientConfig::new(env::var("CAIRN_MASTERS")?.split(','));
    config.access_key = Some((env::var("CAIRN_ACCESS_KEY")?, env::var("CAIRN_SECRET_KEY")?));
    if let Some(file) = env::var_os("CAIRN_CA_FILE") {
        config.tls = TlsTrust::File(file.into());
    }
    let client = Client::connect(config).await?;
    let bucket = BucketName::new(bucket)?;
    if client.bucket(&bucket).await.is_err() {
        client.create_bucket(&bucket, None).await?;
    }

    let path = FilePath::new(bucket.as_str(), key)?;
    let source = File::open(file).await?;
    let length = source.metadata().await?.len();
    let progress = Arc::new(Printed { done: AtomicU64::new(0), of: length });
    // A length that is known is checked: a file that shrinks meanwhile is an error, and stores nothing.
    let options = PutOptions { length: Some(length), progress: Some(progress), ..PutOptions::default() };
    let receipt = client.put(&path, source, options).await?;
    println!(
        "{path}: {} bytes, root {}, {} durable copies",
        receipt.length, receipt.tags.root, receipt.replicas_durable
    );

    let mut reader = client.get(&path, GetOptions::default()).await?.into_file()?;
    let mut target = File::create(copy).await?;
    let mut got = 0;
    while let Some(bytes) = reader.try_next().await? {
        // Checked against its BLAKE3 hash already; what cannot be right is an error instead.
        target.write_all(&bytes).await?;
        got += bytes.len();
        eprintln!("get: {got} of {} bytes", receipt.length);
    }
    target.sync_all().await?;
    // Ends the session in an orderly way; without it the masters end it when its time is over.
    client.close().await;
    Ok(())
}
